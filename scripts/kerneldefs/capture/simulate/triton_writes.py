"""Which arguments a Triton kernel may write to, read from its source.

A launch is skipped, so what it would have written is unknown afterwards. Every pointer that a store
or an atomic may go through counts, through local names and through the kernel's own helpers; values
that were loaded are taken for data, not for pointers.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from typing import Any

_ATOMICS = "atomic_"


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    return (found for found in ast.walk(node) if isinstance(found, ast.Call))


def _callee(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _origins(node: ast.AST | None, known: dict[str, set[str]]) -> set[str]:
    """The parameters that an expression's value may point into."""
    if node is None or (isinstance(node, ast.Call) and _callee(node) == "load"):
        return set()
    if isinstance(node, ast.Name):
        return known.get(node.id, set())
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        found |= _origins(child, known)
    return found


def _names(target: ast.AST) -> Iterator[str]:
    return (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def _local_origins(function: ast.FunctionDef, parameters: list[str]) -> dict[str, set[str]]:
    known = {name: {name} for name in parameters}
    before = -1
    while before != (before := sum(map(len, known.values()))):
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                targets, value = node.targets, node.value
            elif isinstance(node, (ast.AugAssign, ast.AnnAssign)) and node.value is not None:
                targets, value = [node.target], node.value
            elif isinstance(node, ast.For):
                targets, value = [node.target], node.iter
            else:
                continue
            found = _origins(value, known)
            for name in (name for target in targets for name in _names(target)):
                known.setdefault(name, set()).update(found)
    return known


def _helper(call: ast.Call, namespace: dict[str, Any]) -> Any:
    """The kernel function that is called, where it is one."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        found = getattr(namespace.get(function.value.id), function.attr, None)
    else:
        found = namespace.get(getattr(function, "id", ""))
    return found if hasattr(found, "src") and hasattr(found, "arg_names") else None


def _written_by(call: ast.Call, namespace: dict[str, Any]) -> Iterator[ast.AST]:
    """The expressions whose memory a call may write."""
    name = _callee(call)
    if name == "store" or name.startswith(_ATOMICS):
        yield from call.args[:1]
        yield from (word.value for word in call.keywords if word.arg == "pointer")
        if isinstance(call.func, ast.Attribute):  # a descriptor's own method
            yield call.func.value
        return
    helper = _helper(call, namespace)
    if helper is None:
        return
    wanted = written(helper)
    yield from (a for n, a in zip(helper.arg_names, call.args, strict=False) if n in wanted)
    yield from (word.value for word in call.keywords if word.arg in wanted)


@functools.cache
def written(kernel: Any) -> frozenset[str]:
    """Return the names of a `triton.jit` function's parameters that it may write through.

    All of them where its source cannot be read or calls itself.
    """
    names = list(kernel.arg_names)
    try:
        [function] = ast.parse(kernel.src).body
    except (SyntaxError, ValueError, TypeError):
        return frozenset(names)
    if not isinstance(function, ast.FunctionDef):
        return frozenset(names)
    if any(_callee(call) == function.name for call in _calls(function)):
        return frozenset(names)
    namespace = getattr(kernel.fn, "__globals__", {})
    known = _local_origins(function, names)
    found: set[str] = set()
    for call in _calls(function):
        for target in _written_by(call, namespace):
            found |= _origins(target, known)
    return frozenset(found)
