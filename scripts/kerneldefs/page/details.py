"""What the page says of one definition: its file made readable, and all that led to it."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import DiffLexer, PythonLexer

from kerneldefs.definition.readable import readable
from kerneldefs.page.matrix import Row
from kerneldefs.page.results import Results

_FORMATTER = HtmlFormatter(nowrap=True)
LIGHT, DARK = "default", "github-dark"  # pygments styles
_CONTEXT = 3  # unchanged lines shown round a change


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output as a row of a table."""

    side: str
    name: str
    shape: str
    dtype: str
    description: str


@dataclasses.dataclass(frozen=True)
class Before:
    """What FlashInfer dumped, and the change to what is staged, as highlighted HTML."""

    name: str
    configs: tuple[str, ...]
    diff: str


@dataclasses.dataclass(frozen=True)
class Call:
    """A call that a definition was made of; `configs` made it `count` times each."""

    op: str
    phase: str
    layer: str
    origin: str
    counts: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Details:
    """One row of the matrix with everything known about it; definition {} where none is staged."""

    row: Row
    definition: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    reference: str
    calls: tuple[Call, ...]
    befores: tuple[Before, ...]
    sha256: str


def details_of(results: Results, row: Row) -> Details:
    """Return what the page shows of a row."""
    definition = results.definitions.get(row.name, {})
    listed = results.manifest.get("files", {}).get(row.item.get("path"), {})
    return Details(
        row=row,
        definition=definition,
        tensors=tuple(_tensors(definition)),
        reference=_coloured(str(definition.get("reference", "")), PythonLexer()),
        calls=tuple(_calls(row)),
        befores=tuple(_befores(results, row, definition)) if definition else (),
        sha256=str(listed.get("sha256", "")),
    )


def code_css() -> str:
    """Return the colours of highlighted code, light and dark."""
    light = HtmlFormatter(style=LIGHT).get_style_defs(".code")
    dark = HtmlFormatter(style=DARK).get_style_defs(".code")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _tensors(definition: Mapping[str, Any]) -> Iterable[Tensor]:
    for side in ("inputs", "outputs"):
        for name, spec in definition.get(side, {}).items():
            shape = spec.get("shape")
            yield Tensor(
                side.removesuffix("s"),
                name,
                "scalar" if shape is None else f"[{', '.join(map(str, shape))}]",
                str(spec.get("dtype")),
                str(spec.get("description") or ""),
            )


def _calls(row: Row) -> Iterable[Call]:
    """Return the calls of all configs, those that differ only in the config as one."""
    found: dict[tuple[str, str, str, str], dict[str, int]] = {}
    sources = row.item.get("sources", {})
    if not isinstance(sources, dict):  # what is no definition has one list for all its configs
        sources = {"": sources}
    for config, calls in sources.items():
        for call in calls:
            key = (call["op"], call["phase"], call["layer"], call["origin"])
            counts = found.setdefault(key, {})
            counts[config] = counts.get(config, 0) + call["count"]
    return (Call(*key, counts) for key, counts in sorted(found.items()))


def _befores(results: Results, row: Row, definition: Mapping[str, Any]) -> Iterable[Before]:
    """Return each distinct dump that the definition was made of, with the change."""
    found: dict[tuple[str, str], list[str]] = {}
    for config, names in row.item.get("dumped", {}).items():
        for name in names:
            dumped = results.dumped(config, name)
            if dumped is not None:
                found.setdefault((name, readable(dumped)), []).append(config)
    for (name, before), configs in sorted(found.items()):
        yield Before(name, tuple(configs), _diff(before, readable(definition)))


def _diff(before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "dumped", "staged", lineterm="", n=_CONTEXT
    )
    return _coloured("\n".join(lines), DiffLexer())


def _coloured(code: str, lexer: Lexer) -> str:
    return str(highlight(code, lexer, _FORMATTER))
