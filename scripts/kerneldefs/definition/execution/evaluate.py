"""Constraints and sizes, computed over the syntax tree: never `eval`, bounded in time and size.

total_q == qo_indptr[-1].item()      packed_k == scale_groups * 16      head_dim in (64, 128)
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LONGEST_TEXT = 1000  # characters
LARGEST = 2**63  # of any number on the way
STEPS = 200_000  # nodes evaluated, loops included

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "all": all,
    "any": any,
    "len": len,
    "max": max,
    "min": min,
    "sum": sum,
}


class Unevaluable(Exception):
    """An expression that is none, names something unknown, or computes too much."""


class Array:
    """A tensor's values as nested lists, with what constraints ask of a tensor and no more."""

    def __init__(self, values: Any, shape: Sequence[int]) -> None:
        self.values = values
        self.shape = tuple(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | slice) -> Any:
        part = self.values[index]
        if isinstance(index, slice):
            return Array(part, (len(part), *self.shape[1:]))
        return Array(part, self.shape[1:])

    def flat(self) -> list[Any]:
        """Return all values in order."""
        if not self.shape:
            return [self.values]
        return [value for part in self for value in part.flat()]

    def scalar(self) -> Any:
        """Return the only value."""
        values = self.flat()
        if len(values) != 1:
            raise Unevaluable(f"item() of {len(values)} values")
        return values[0]


_METHODS: dict[str, Callable[[Array], Any]] = {
    "item": Array.scalar,
    "max": lambda array: max(array.flat()),
    "min": lambda array: min(array.flat()),
    "numel": lambda array: len(array.flat()),
    "sum": lambda array: sum(array.flat()),
}


def evaluate(text: str, names: Mapping[str, Any]) -> Any:
    """Return the value of an expression over numbers and `Array`s.

    Raises `Unevaluable` for whatever is not a plain computation, and for one that fails.
    """
    if len(text) > LONGEST_TEXT:
        raise Unevaluable(f"{len(text)} characters, more than {LONGEST_TEXT}")
    try:
        tree = ast.parse(text, mode="eval")
        return _plain(_Evaluation(dict(names)).of(tree.body))
    except Unevaluable:
        raise
    except (SyntaxError, ValueError, TypeError, ArithmeticError, LookupError) as error:
        raise Unevaluable(f"{type(error).__name__}: {error}") from None
    except (RecursionError, MemoryError) as error:
        raise Unevaluable(type(error).__name__) from None


def names_of(text: str) -> set[str]:
    """Return the names of an expression, functions apart; empty when it is none."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - set(_FUNCTIONS)


def _plain(value: Any) -> Any:
    """A tensor of one element counts as its number, as it does in a comparison of torch."""
    return value.scalar() if isinstance(value, Array) and not value.shape else value


class _Evaluation:
    """One evaluation: the names it may use and how many steps it has left."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self._left = STEPS

    def of(self, node: ast.expr) -> Any:
        self._left -= 1
        if self._left < 0:
            raise Unevaluable(f"more than {STEPS} steps")
        handler = getattr(self, f"_{type(node).__name__.lower()}", None)
        if handler is None:
            raise Unevaluable(f"{type(node).__name__} is not part of a constraint")
        return handler(node)

    def _number(self, node: ast.expr) -> Any:
        value = _plain(self.of(node))
        if not isinstance(value, (bool, int, float)):
            raise Unevaluable(f"{ast.unparse(node)} is no number")
        if abs(value) > LARGEST:
            raise Unevaluable(f"{ast.unparse(node)} is larger than 2**63")
        return value

    def _constant(self, node: ast.Constant) -> Any:
        if not isinstance(node.value, (bool, int, float, type(None))):
            raise Unevaluable(f"{node.value!r} is no number")
        return node.value

    def _name(self, node: ast.Name) -> Any:
        if node.id not in self._names:
            raise Unevaluable(f"{node.id} is not known")
        return self._names[node.id]

    def _tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(_plain(self.of(item)) for item in node.elts)

    def _list(self, node: ast.List) -> tuple[Any, ...]:
        return tuple(_plain(self.of(item)) for item in node.elts)

    def _binop(self, node: ast.BinOp) -> Any:
        operation = _ARITHMETIC.get(type(node.op))
        if operation is None:
            raise Unevaluable(f"{type(node.op).__name__} is not part of a constraint")
        return operation(self._number(node.left), self._number(node.right))

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        operation = _SIGNS.get(type(node.op))
        if operation is None:
            raise Unevaluable(f"{type(node.op).__name__} is not part of a constraint")
        return operation(self._number(node.operand))

    def _boolop(self, node: ast.BoolOp) -> Any:
        stop = isinstance(node.op, ast.Or)
        value: Any = not stop
        for item in node.values:
            value = _plain(self.of(item))
            if bool(value) is stop:
                break
        return value

    def _ifexp(self, node: ast.IfExp) -> Any:
        return self.of(node.body if _plain(self.of(node.test)) else node.orelse)

    def _compare(self, node: ast.Compare) -> bool:
        left = _plain(self.of(node.left))
        for operation, item in zip(node.ops, node.comparators, strict=True):
            compare = _COMPARISONS.get(type(operation))
            if compare is None:
                raise Unevaluable(f"{type(operation).__name__} is not part of a constraint")
            right = _plain(self.of(item))
            if not compare(left, right):
                return False
            left = right
        return True

    def _subscript(self, node: ast.Subscript) -> Any:
        base = self.of(node.value)
        if not isinstance(base, (Array, tuple)):
            raise Unevaluable(f"{ast.unparse(node.value)} has no elements")
        if isinstance(node.slice, ast.Slice):
            return base[slice(*map(self._bound, self._ends(node.slice)))]
        index = self._number(node.slice)
        if not isinstance(index, int):
            raise Unevaluable(f"{ast.unparse(node.slice)} is no index")
        return base[index]

    @staticmethod
    def _ends(node: ast.Slice) -> tuple[ast.expr | None, ...]:
        return node.lower, node.upper, node.step

    def _bound(self, node: ast.expr | None) -> Any:
        return None if node is None else self._number(node)

    def _attribute(self, node: ast.Attribute) -> tuple[int, ...]:
        base = self.of(node.value)
        if node.attr != "shape" or not isinstance(base, Array):
            raise Unevaluable(f".{node.attr} is not part of a constraint")
        return base.shape

    def _call(self, node: ast.Call) -> Any:
        if node.keywords:
            raise Unevaluable("keyword arguments are not part of a constraint")
        if isinstance(node.func, ast.Attribute):
            method, base = _METHODS.get(node.func.attr), self.of(node.func.value)
            if method is None or node.args or not isinstance(base, Array):
                raise Unevaluable(f".{node.func.attr}() is not part of a constraint")
            return method(base)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in _FUNCTIONS:
            raise Unevaluable(f"{ast.unparse(node.func)[:40]}() is not part of a constraint")
        arguments = [self.of(argument) for argument in node.args]
        lists = [[_plain(x) for x in a] if isinstance(a, Array) else _plain(a) for a in arguments]
        return _FUNCTIONS[name](*lists)

    def _generatorexp(self, node: ast.GeneratorExp) -> list[Any]:
        loop = node.generators[0]
        if len(node.generators) > 1 or not isinstance(loop.target, ast.Name) or loop.is_async:
            raise Unevaluable("only one plain loop is part of a constraint")
        before, name, found = dict(self._names), loop.target.id, []
        for value in self.of(loop.iter):
            self._names[name] = value
            if all(_plain(self.of(test)) for test in loop.ifs):
                found.append(_plain(self.of(node.elt)))
        self._names = before
        return found
