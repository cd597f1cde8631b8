"""What a dataset has already: by name or by a known alias, and by structure."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.dataset.tree import read_entry
from kerneldefs.definition.candidates import difference
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.source import constants
from kerneldefs.definition.variants import EPSILON
from kerneldefs.errors import KerneldefsError

ALIASES = Path(__file__).with_name("aliases.json")


@dataclasses.dataclass(frozen=True)
class Match:
    """A definition of the dataset that has a candidate's name or an alias of it.

    `differences` are the places where structure or epsilon differ; none means the same kernel.
    """

    path: str
    name: str
    differences: tuple[str, ...]


@functools.cache
def _aliases() -> list[tuple[re.Pattern[str], str]]:
    rows = json.loads(ALIASES.read_text(encoding="utf-8"))
    return [(re.compile(row["name"]), row["alias"]) for row in rows]


def names_of(name: str) -> list[str]:
    """Return a definition's name and the names that a dataset may have it under."""
    matched = [(pattern.fullmatch(name), alias) for pattern, alias in _aliases()]
    return [name, *(match.expand(alias) for match, alias in matched if match)]


class Dataset:
    """The definitions of a dataset directory, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        definitions = folder / "definitions"
        if not definitions.is_dir():
            raise KerneldefsError(
                f"{folder}: no definitions folder; give the root of a flashinfer-trace dataset"
            )
        self._folder = definitions
        self._paths: dict[str, list[Path]] = {}
        for path in sorted(definitions.rglob("*.json")):
            self._paths.setdefault(path.stem, []).append(path)

    def find(self, definition: Mapping[str, Any]) -> Match | None:
        """Return the dataset's definition of the same kernel, else one that bears its name.

        A definition that only has an alias of the name and differs is another kernel.
        """
        own_name: Match | None = None
        for name in names_of(definition["name"]):
            for path in self._paths.get(name, []):
                match = self._match(path, definition)
                if not match.differences:
                    return match
                if name == definition["name"]:
                    own_name = own_name or match
        return own_name

    def named(self, name: str) -> str | None:
        """Return the name that the dataset has a definition under: this one or an alias of it."""
        return next((known for known in names_of(name) if known in self._paths), None)

    def _match(self, path: Path, definition: Mapping[str, Any]) -> Match:
        entry = read_entry(self._folder, path)
        if entry.problem is not None or not isinstance(entry.content, dict):
            found = [entry.problem or "not an object"]
        else:
            found = differences(entry.content, definition)
        return Match(entry.path, path.stem, tuple(found))


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return where two definitions differ in structure: axes, inputs, outputs, op_type, epsilon."""
    found = difference(_structure(one), _structure(other))
    epsilons = [_epsilon(definition) for definition in (one, other)]
    if all(epsilons) and epsilons[0] != epsilons[1]:
        found.append(f"epsilon: {epsilons[0]} and {epsilons[1]}")
    return found


def _structure(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "op_type": definition.get("op_type"),
        "axes": {
            name: _without_description(axis) for name, axis in sorted(_items(definition, "axes"))
        },
        "inputs": dict(_plain(definition, "inputs")),
        "outputs": dict(_plain(definition, "outputs")),
    }


def _plain(definition: Mapping[str, Any], key: str) -> Iterable[tuple[str, Any]]:
    return ((name, _without_description(spec)) for name, spec in _items(definition, key))


def _items(definition: Mapping[str, Any], key: str) -> Iterable[tuple[str, Any]]:
    value = definition.get(key)
    return value.items() if isinstance(value, dict) else ()


def _without_description(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {key: entry[key] for key in sorted(entry) if key != "description"}


def _epsilon(definition: Mapping[str, Any]) -> tuple[object, ...]:
    try:
        return constants(str(definition.get("reference", "")), EPSILON)
    except Quarantine:
        return ()
