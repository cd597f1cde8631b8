"""Source text of the installed FlashInfer, read as files: an import would need torch and CUDA."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
from pathlib import Path

PACKAGE = "flashinfer"
DISTRIBUTION = "flashinfer-python"

# Names that references use without importing them, and the import that gives them.
IMPORTS = {
    "F": "import torch.nn.functional as F",
    "math": "import math",
    "np": "import numpy as np",
    "torch": "import torch",
}


@functools.cache
def installed_version() -> str | None:
    """Return the installed FlashInfer's version, or None."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def root() -> Path | None:
    """Return the folder of the installed package, or None."""
    spec = importlib.util.find_spec(PACKAGE)  # a top-level name: found without importing it
    locations = (spec and spec.submodule_search_locations) or []
    return Path(next(iter(locations))) if locations else None


def module_path(module: str) -> Path | None:
    """Return the file of `flashinfer.x.y`, or None when there is none."""
    base = root()
    parts = module.split(".")
    if base is None or parts[0] != PACKAGE or not all(p.isidentifier() for p in parts):
        return None
    path = base.joinpath(*parts[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def definition_of(name: str, module: str, depth: int = 0) -> str | None:
    """Return the source that defines `name` for a reference of `module`, or None.

    Looks at the module's own top level, then where the module imports the name from.
    """
    names = _top_level(module)
    if name in names:
        return names[name]
    source = _imported_from(module).get(name)
    if source is not None and depth < 3:
        return definition_of(source[1], source[0], depth + 1)
    return IMPORTS.get(name)


@functools.cache
def _parsed(module: str) -> tuple[str, ast.Module] | None:
    path = module_path(module)
    if path is None:
        return None
    text = path.read_text(encoding="utf-8")
    return text, ast.parse(text)


@functools.cache
def _top_level(module: str) -> dict[str, str]:
    parsed = _parsed(module)
    if parsed is None:
        return {}
    text, tree = parsed
    lines = text.splitlines()
    found: dict[str, str] = {}
    for node in tree.body:
        for name in _defines(node):
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(d.lineno for d in decorators)])
            segment = "\n".join(lines[first - 1 : node.end_lineno])
            found[name] = _enum_import(node) + segment
    return found


def _defines(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _enum_import(node: ast.stmt) -> str:
    bases = {ast.unparse(base) for base in getattr(node, "bases", [])}
    return "from enum import Enum, IntEnum\n\n\n" if bases & {"Enum", "IntEnum"} else ""


@functools.cache
def _imported_from(module: str) -> dict[str, tuple[str, str]]:
    """Local name -> (FlashInfer module, name there) of the module's top-level imports."""
    parsed = _parsed(module)
    if parsed is None:
        return {}
    path = module_path(module)
    package = module if path and path.name == "__init__.py" else module.rpartition(".")[0]
    found = {}
    for node in parsed[1].body:
        if not isinstance(node, ast.ImportFrom):
            continue
        source = node.module or ""
        if node.level:
            base = package.split(".")[: len(package.split(".")) - (node.level - 1)]
            source = ".".join([*base, *filter(None, [node.module])])
        if source.split(".")[0] == PACKAGE:
            for alias in node.names:
                found[alias.asname or alias.name] = (source, alias.name)
    return found
