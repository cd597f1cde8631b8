"""Reading a reference's source text; it is never executed here."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import symtable
from collections.abc import Iterable, Iterator

from kerneldefs.definition.draft import Quarantine

Function = ast.FunctionDef

# Every call of one op has the same reference text, and a capture has dozens of calls of each.
_remembered = functools.lru_cache(maxsize=256)


@dataclasses.dataclass(frozen=True)
class Entry:
    """The function of a reference that computes the result.

    `parameters` are in order with their default's source (None without one); `keywords` are the
    names that it or its helpers read from a `**kwargs`; `reads` the parameters whose value is used.
    """

    name: str
    parameters: dict[str, str | None]
    positional_only: tuple[str, ...]
    keywords: frozenset[str]
    reads: frozenset[str]
    writes: frozenset[str]


@_remembered
def parse(source: str) -> ast.Module:
    """Parse a reference; text that is no Python is a quarantine."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = str(error) or "it is nested too deeply"  # of which MemoryError says nothing
        raise Quarantine("reference-syntax", f"the reference does not parse: {why}") from None


@_remembered
def nodes(source: str) -> tuple[ast.AST, ...]:
    """Return every node of a reference, breadth first."""
    return tuple(ast.walk(parse(source)))


def functions(tree: ast.Module) -> dict[str, Function]:
    """Return the top-level functions by name, in order."""
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


@_remembered
def entry(source: str) -> Entry:
    """Return the entry: `run` where there is one, else the last function.

    FlashInfer renders helpers first and the reference last (flashinfer/trace/template.py, 0.6.18).
    """
    tree = parse(source)
    found = functions(tree)
    if not found:
        raise Quarantine("reference-empty", "the reference defines no function")
    function = found.get("run") or next(reversed(found.values()))
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    parameters: dict[str, str | None] = {a.arg: None for a in positional}
    named = positional[len(positional) - len(arguments.defaults) :]
    for argument, default in zip(named, arguments.defaults, strict=True):
        parameters[argument.arg] = ast.unparse(default)
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parameters[argument.arg] = None if value is None else ast.unparse(value)
    return Entry(
        name=function.name,
        parameters=parameters,
        positional_only=tuple(a.arg for a in arguments.posonlyargs),
        keywords=_keywords(found.values()) if arguments.kwarg else frozenset(),
        reads=_reads(function) & parameters.keys(),
        writes=_writes(function) & parameters.keys(),
    )


def _keywords(every: Iterable[Function]) -> frozenset[str]:
    """Names that functions take out of their `**kwargs` by a literal key."""
    names = set()
    for function in every:
        kwargs = function.args.kwarg.arg if function.args.kwarg else None
        for node in ast.walk(function):
            key = None
            if isinstance(node, ast.Subscript) and _is_name(node.value, kwargs):
                key = node.slice
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("get", "pop")
                and _is_name(node.func.value, kwargs)
                and node.args
            ):
                key = node.args[0]
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                names.add(key.value)
    return frozenset(names)


def _is_name(node: ast.AST, name: str | None) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _reads(function: Function) -> frozenset[str]:
    return frozenset(
        node.id
        for statement in function.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )


def _writes(function: Function) -> frozenset[str]:
    """Names whose tensor may be changed in place: item assignment, `+=`, or a `method_()` call."""
    names = set()
    for node in ast.walk(function):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = [t for t in node.targets if isinstance(t, ast.Subscript)]
        elif isinstance(node, ast.AugAssign):
            targets = [node.target]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr.endswith("_")
            and not node.func.attr.startswith("__")
        ):
            targets = [node.func.value]
        for target in targets:
            while isinstance(target, (ast.Subscript, ast.Attribute)):
                target = target.value
            if isinstance(target, ast.Name):
                names.add(target.id)
    return frozenset(names)


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """Walk a function without the bodies of functions and lambdas inside it."""
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            stack.extend(ast.iter_child_nodes(node))


@_remembered
def returned(source: str, name: str) -> int | tuple[str, ...] | None:
    """Return how many values function `name` returns, or the keys of the dict that it returns.

    None where the source does not tell; 0 where it returns nothing.
    """
    found = functions(parse(source))
    kinds = {_count(value, found[name], found, 0) for value in _return_values(found[name])}
    if not kinds:
        return 0
    return kinds.pop() if len(kinds) == 1 else None


def _return_values(function: Function) -> list[ast.expr | None]:
    return [node.value for node in own_nodes(function) if isinstance(node, ast.Return)]


def _count(
    value: ast.expr | None, function: Function, every: dict[str, Function], depth: int
) -> int | tuple[str, ...] | None:
    if value is None or (isinstance(value, ast.Constant) and value.value is None):
        return 0
    if isinstance(value, ast.Tuple):
        return len(value.elts)
    if isinstance(value, ast.Dict):
        keys = [k.value for k in value.keys if isinstance(k, ast.Constant)]
        return tuple(str(k) for k in keys) if len(keys) == len(value.keys) else None
    if isinstance(value, ast.IfExp):
        one = _count(value.body, function, every, depth)
        return one if one == _count(value.orelse, function, every, depth) else None
    if isinstance(value, ast.Call):
        return _count_call(value, every, depth)
    if isinstance(value, ast.Name):
        return _count_name(value.id, function, every, depth)
    return 1


def _count_call(
    value: ast.Call, every: dict[str, Function], depth: int
) -> int | tuple[str, ...] | None:
    if isinstance(value.func, ast.Attribute):
        return 1  # a tensor method or torch function; those that return tuples are unpacked
    if isinstance(value.func, ast.Name) and value.func.id in every and depth < 4:
        callee = every[value.func.id]
        kinds = {_count(v, callee, every, depth + 1) for v in _return_values(callee)}
        return kinds.pop() if len(kinds) == 1 else None
    return None


def _count_name(
    name: str, function: Function, every: dict[str, Function], depth: int
) -> int | tuple[str, ...] | None:
    arguments = function.args
    kinds: set[int | tuple[str, ...] | None] = set()
    if name in {a.arg for a in (*arguments.args, *arguments.kwonlyargs, *arguments.posonlyargs)}:
        kinds.add(1)
    for node in own_nodes(function):
        if not isinstance(node, ast.Assign) or depth >= 4:
            continue
        for target in node.targets:
            if _is_name(target, name):
                direct = isinstance(node.value, ast.Name)
                kinds.add(1 if direct else _count(node.value, function, every, depth + 1))
            elif isinstance(target, ast.Tuple) and any(_is_name(e, name) for e in target.elts):
                kinds.add(1)
    kinds.discard(None)
    return kinds.pop() if len(kinds) == 1 else None


@_remembered
def missing_names(source: str) -> frozenset[str]:
    """Return the global names that the source uses and nothing in it, or in Python, defines.

    Annotations do not count: references start with `from __future__ import annotations`.
    """
    annotations = {id(n) for a in _annotations(source) for n in ast.walk(a)}
    used = {n.id for n in nodes(source) if isinstance(n, ast.Name) and id(n) not in annotations}
    table = symtable.symtable(source, "reference", "exec")
    bound = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    bound |= {s.get_name() for s in table.get_symbols() if s.is_namespace()}
    return frozenset((_global_names(table) & used) - bound - set(dir(builtins)) - {"__name__"})


def _global_names(table: symtable.SymbolTable) -> set[str]:
    top = table.get_type() == "module"
    names = {
        s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())
    }
    for child in table.get_children():
        names |= _global_names(child)
    return names


def _annotations(source: str) -> Iterator[ast.expr]:
    for node in nodes(source):
        if isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            yield node.returns


@_remembered
def imported(source: str) -> frozenset[str]:
    """Return the top-level packages that the source imports; "." for a relative import."""
    packages = set()
    for node in nodes(source):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            packages.add("." if node.level else (node.module or "").split(".")[0])
    return frozenset(packages)


def constants(source: str, name: str) -> tuple[object, ...]:
    """Return the distinct literal values assigned to `name` anywhere, in order."""
    return tuple(dict.fromkeys(ast.literal_eval(node.value) for node in _literals(source, name)))


def with_constant(source: str, name: str, value: object) -> str:
    """Return the source with every literal assigned to `name` replaced by `value`."""
    lines = source.splitlines(keepends=True)
    for node in _literals(source, name):
        literal = node.value
        line = lines[literal.lineno - 1].encode()
        changed = line[: literal.col_offset] + repr(value).encode() + line[literal.end_col_offset :]
        lines[literal.lineno - 1] = changed.decode()
    return "".join(lines)


def _literals(source: str, name: str) -> list[ast.Assign]:
    """Assignments of a plain number, string or None to `name`."""
    return [
        node
        for node in nodes(source)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, (ast.Constant, ast.UnaryOp))
        and len(node.targets) == 1
        and _is_name(node.targets[0], name)
    ]
