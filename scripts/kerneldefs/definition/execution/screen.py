"""What a reference's text contains, read before any of it runs.

The screen is an allow-list: of syntax, of modules and what is taken from them, of attributes and of
built-in functions. It is not the only fence (`confine` is the other), but no code that it refuses
is ever compiled.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from kerneldefs.definition.execution.allowed import ATTRIBUTES, BUILTINS, MODULES, NAMES

LONGEST_TEXT = 200_000  # characters; the longest reference of FlashInfer 0.6.18 has 12,000

_SYNTAX = (
    *(ast.Module, ast.Expr, ast.Pass, ast.Assert, ast.Raise, ast.Return, ast.Delete),
    *(ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr),
    *(ast.If, ast.For, ast.While, ast.Break, ast.Continue, ast.With, ast.withitem),
    *(ast.Try, ast.ExceptHandler, ast.FunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.arguments, ast.arg, ast.keyword, ast.Import, ast.ImportFrom, ast.alias),
    *(ast.Constant, ast.JoinedStr, ast.FormattedValue, ast.Name, ast.Attribute),
    *(ast.Subscript, ast.Slice, ast.Starred, ast.Call, ast.Compare, ast.IfExp),
    *(ast.Tuple, ast.List, ast.Dict, ast.Set, ast.BinOp, ast.BoolOp, ast.UnaryOp),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension),
    *(ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_DECORATORS = frozenset({"torch.no_grad", "torch.inference_mode"})
_BASES = frozenset({"enum.Enum", "enum.IntEnum"})


def problems(reference: str) -> list[str]:
    """Return a sentence for everything in a reference that it may not contain; [] to let it run."""
    if len(reference) > LONGEST_TEXT:
        return [f"the reference has {len(reference)} characters, more than {LONGEST_TEXT}"]
    try:
        tree = ast.parse(reference)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [f"the reference is not Python: {type(error).__name__}"]
    foreign = [node for node in ast.walk(tree) if not isinstance(node, _SYNTAX)]
    if foreign:
        kinds = sorted({type(node).__name__ for node in foreign})
        return [f"it has the syntax {kind}, which it may not" for kind in kinds]
    return list(dict.fromkeys(_Reader(tree).problems()))


def _annotations(tree: ast.Module) -> set[int]:
    """The nodes that are never evaluated: annotations, where the reference says they are text."""
    deferred = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )
    if not deferred:
        return set()
    found: set[int] = set()
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            words = getattr(node, name, None)
            found |= {id(word) for word in ast.walk(words)} if words else set()
    return found


class _Reader:
    """One parsed reference: which names are modules, which it binds itself, what it reaches for."""

    def __init__(self, tree: ast.Module) -> None:
        words = _annotations(tree)
        self._nodes = [node for node in ast.walk(tree) if id(node) not in words]
        self._modules: dict[str, str] = {}  # local name -> module
        self._taken: dict[str, str] = {}  # local name -> what was imported from a module
        self._bound = self._bindings()
        self._members = self._enum_members()  # (class, member)

    def problems(self) -> Iterator[str]:
        """Yield a sentence for each thing that is not allowed."""
        yield from self._imports()
        roots = {id(node.value) for node in self._nodes if isinstance(node, ast.Attribute)}
        for node in self._nodes:
            if isinstance(node, ast.Name):
                yield from self._name(node, id(node) in roots)
            elif isinstance(node, ast.Attribute):
                yield from self._attribute(node, id(node) in roots)
            elif isinstance(node, ast.FunctionDef):
                yield from self._decorators(node)
            elif isinstance(node, ast.ClassDef):
                yield from self._class(node)
        classes = {node.name for node in self._nodes if isinstance(node, ast.ClassDef)}
        for name, times in sorted(self._bound.items()):
            if name.startswith("__"):
                yield f"it binds the name {name}"
            if name in self._modules or name in self._taken:
                yield f"it binds {name}, which is also an import"
            if name in classes and times > 1:
                yield f"it binds {name}, which is also a class"

    def _bindings(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for node in self._nodes:
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                found[node.id] += 1
            elif isinstance(node, ast.arg):
                found[node.arg] += 1
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler)):
                found[node.name or ""] += 1
        return found

    def _enum_members(self) -> set[tuple[str, str]]:
        return {
            (node.name, target.id)
            for node in self._nodes
            if isinstance(node, ast.ClassDef)
            for statement in node.body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name) and not target.id.startswith("_")
        }

    def _imports(self) -> Iterator[str]:
        for node in self._nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name not in MODULES:
                        yield f"it imports {alias.name}"
                    elif alias.asname:
                        yield from self._bind(self._modules, alias.asname, alias.name)
                    else:
                        top = alias.name.split(".")[0]
                        yield from self._bind(self._modules, top, top)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield from self._import_from(node, alias)

    def _import_from(self, node: ast.ImportFrom, alias: ast.alias) -> Iterator[str]:
        full = f"{'.' * node.level}{node.module or ''}.{alias.name}"
        if full in MODULES:
            yield from self._bind(self._modules, alias.asname or alias.name, full)
        elif full in NAMES:
            yield from self._bind(self._taken, alias.asname or alias.name, full)
        else:
            yield f"it imports {full}"

    def _bind(self, table: dict[str, str], name: str, full: str) -> Iterator[str]:
        before = self._modules.get(name, self._taken.get(name, full))
        if name.startswith("__") or before != full:
            yield f"it imports {full} as {name}"
        table[name] = full

    def _module(self, node: ast.AST) -> str | None:
        """The module that an expression is, if it is one."""
        if isinstance(node, ast.Name):
            return self._modules.get(node.id)
        if isinstance(node, ast.Attribute):
            below = self._module(node.value)
            full = f"{below}.{node.attr}"
            return full if below is not None and full in MODULES else None
        return None

    def _name(self, node: ast.Name, is_root: bool) -> Iterator[str]:
        if node.id in self._modules:
            if not is_root:
                yield f"it uses the module {node.id} as a value (line {node.lineno})"
        elif node.id not in self._bound and node.id not in self._taken and node.id not in BUILTINS:
            yield f"it uses {node.id}, which it may not (line {node.lineno})"

    def _attribute(self, node: ast.Attribute, is_root: bool) -> Iterator[str]:
        module = self._module(node.value)
        if not isinstance(node.ctx, ast.Load):
            yield f"it sets the attribute {node.attr} (line {node.lineno})"
        elif module is None:
            base = node.value.id if isinstance(node.value, ast.Name) else ""
            if node.attr not in ATTRIBUTES and (base, node.attr) not in self._members:
                yield f"it uses the attribute {node.attr}, which it may not (line {node.lineno})"
        elif f"{module}.{node.attr}" in MODULES:
            if not is_root:
                yield f"it uses the module {module}.{node.attr} as a value (line {node.lineno})"
        elif f"{module}.{node.attr}" not in NAMES:
            yield f"it uses {module}.{node.attr}, which it may not (line {node.lineno})"

    def _full(self, node: ast.expr) -> str:
        """What an expression names, with its module: torch.no_grad."""
        if isinstance(node, ast.Call):
            return self._full(node.func)
        if isinstance(node, ast.Attribute):
            return f"{self._module(node.value)}.{node.attr}"
        return self._taken.get(node.id, node.id) if isinstance(node, ast.Name) else ""

    def _decorators(self, node: ast.FunctionDef) -> Iterator[str]:
        for decorator in node.decorator_list:
            if self._full(decorator) not in _DECORATORS:
                yield f"it decorates {node.name} (line {node.lineno})"

    def _class(self, node: ast.ClassDef) -> Iterator[str]:
        """Only enums: constants by name."""
        bases = {self._full(base) for base in node.bases}
        plain = all(
            isinstance(item, (ast.Assign, ast.Pass))
            or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
            for item in node.body
        )
        if not bases or not bases <= _BASES or node.keywords or node.decorator_list or not plain:
            yield f"it defines the class {node.name}, which is no plain enum (line {node.lineno})"
