"""What a dataset has already: under the same name, or under any name with the same signature."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.dataset.tree import read_entry
from kerneldefs.definition.candidates import difference
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.signature import names_of, signature
from kerneldefs.definition.source import constants
from kerneldefs.definition.variants import EPSILON
from kerneldefs.errors import KerneldefsError


@dataclasses.dataclass(frozen=True)
class Match:
    """A definition of the dataset that is a candidate's kernel, or has its name.

    `differences` are the places where structure or epsilon differ, if it only has the name.
    """

    path: str
    name: str
    differences: tuple[str, ...]


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

        The same kernel has the same signature, under this name, an alias or any other.
        """
        wanted = signature(dict(definition))
        same_name = self._paths.get(definition["name"], [])
        for path in same_name:
            if self._signature(path) == wanted:
                return self._match(path, [])
        for path in self._paths_by_signature.get(wanted, []):
            return self._match(path, [])
        for path in same_name:
            return self._match(path, self._differences(path, definition))
        return None

    def named(self, name: str) -> str | None:
        """Return the name that the dataset has a definition under: this one or an alias of it."""
        return next((known for known in names_of(name) if known in self._paths), None)

    @functools.cached_property
    def _paths_by_signature(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in sorted(path for paths in self._paths.values() for path in paths):
            text = self._signature(path)
            if text is not None:
                found.setdefault(text, []).append(path)
        return found

    def _signature(self, path: Path) -> str | None:
        """Return a file's signature; None for one that is no definition."""
        try:
            return signature(read_entry(self._folder, path).content)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    def _match(self, path: Path, differences: Iterable[str]) -> Match:
        return Match(path.relative_to(self._folder).as_posix(), path.stem, tuple(differences))

    def _differences(self, path: Path, definition: Mapping[str, Any]) -> list[str]:
        entry = read_entry(self._folder, path)
        if entry.problem is not None or not isinstance(entry.content, dict):
            return [entry.problem or "not an object"]
        return differences(entry.content, definition) or ["the function that it computes"]


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
