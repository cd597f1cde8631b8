"""The candidates of all of a model's configs, united: one definition per name, one per kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kerneldefs.definition.candidates import (
    Candidate,
    differing,
    grouped,
    with_all_tags,
)
from kerneldefs.definition.collisions import told_apart
from kerneldefs.definition.signature import signature

COLLISION, SAME = "name-collision", "same-kernel"


@dataclasses.dataclass(frozen=True)
class Staged:
    """One definition with everything that led to it; `configs` are serving config ids.

    `execution` says how its reference ran; None where it did not. `about` is its class and what
    belongs to it, see dataset/classes.py. `made_of` has the names of its candidates by config, that
    are others where it was renamed, or where several names were one kernel.
    """

    definition: dict[str, Any]
    configs: tuple[str, ...]
    repairs: tuple[str, ...]
    execution: Mapping[str, Any] | None = None
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    made_of: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the definition's name."""
        return str(self.definition["name"])

    @property
    def path(self) -> str:
        """Return the file's place below the definitions folder."""
        return f"{self.definition['op_type']}/{self.name}.json"

    def brief(self) -> dict[str, Any]:
        """Return what the manifest and the report say of it."""
        return {
            "name": self.name,
            "op_type": self.definition["op_type"],
            "configs": list(self.configs),
            "repairs": list(self.repairs),
            **self._renamed(),
            **self.about,
            **({} if self.execution is None else {"execution": dict(self.execution)}),
        }

    def _renamed(self) -> dict[str, Any]:
        """Return the candidates' names where they are not this name; nothing where all are."""
        other = {c: list(names) for c, names in self.made_of.items() if names != (self.name,)}
        return {"candidates": other} if other else {}


def unite(found: Sequence[tuple[str, Candidate]]) -> tuple[list[Staged], list[dict[str, Any]]]:
    """Return one definition per name with tags united, and the others of a name.

    Of several contents under one name those that a word tells apart get the word (see
    definition/collisions.py). Of the others the first in the order of their text stays, which does
    not depend on which config was captured first.
    """
    kept: list[Staged] = []
    lost: list[dict[str, Any]] = []
    items = [_Found(config, candidate.name, candidate) for config, candidate in found]
    apart = told_apart(items, _definition_of, _with_definition)
    for groups in grouped(apart, _definition_of):
        first, *others = (_as_one(group) for group in groups)
        kept.append(first)
        for other in others:
            how = differing(first.definition, other.definition)
            reason = f"{', '.join(first.configs)} has another definition of this name; {how}"
            lost.append(lost_row(other, COLLISION, reason))
    return _one_per_kernel(kept, lost)


def _one_per_kernel(
    items: Iterable[Staged], lost: list[dict[str, Any]]
) -> tuple[list[Staged], list[dict[str, Any]]]:
    """Of several names for one kernel keep the first, with the tags and configs of all."""
    kept: dict[str, Staged] = {}
    for item in items:
        first = kept.setdefault(signature(item.definition), item)
        if first is not item:
            kept[signature(item.definition)] = _joined(first, item)
            lost.append(lost_row(item, SAME, f"{first.name} is the same kernel under another name"))
    return list(kept.values()), lost


def _joined(first: Staged, other: Staged) -> Staged:
    return dataclasses.replace(
        first,
        definition=with_all_tags([first.definition, other.definition]),
        configs=tuple(sorted({*first.configs, *other.configs})),
        made_of=_names([*_pairs(first), *_pairs(other)]),
    )


@dataclasses.dataclass(frozen=True)
class _Found:
    """A candidate of a config, with the name that it had there."""

    config: str
    name: str
    candidate: Candidate


def _definition_of(item: _Found) -> dict[str, Any]:
    return item.candidate.definition


def _with_definition(item: _Found, definition: dict[str, Any]) -> _Found:
    renamed = dataclasses.replace(item.candidate, definition=definition)
    return dataclasses.replace(item, candidate=renamed)


def _as_one(group: list[_Found]) -> Staged:
    repairs = dict.fromkeys(step for item in group for step in item.candidate.repairs)
    return Staged(
        with_all_tags([_definition_of(item) for item in group]),
        tuple(sorted({item.config for item in group})),
        tuple(repairs),
        made_of=_names((item.config, item.name) for item in group),
    )


def _names(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    names: dict[str, set[str]] = {}
    for config, name in pairs:
        names.setdefault(config, set()).add(name)
    return {config: tuple(sorted(names[config])) for config in sorted(names)}


def _pairs(item: Staged) -> Iterable[tuple[str, str]]:
    return ((config, name) for config, names in item.made_of.items() for name in names)


def lost_row(item: Staged, cause: str, reason: str) -> dict[str, Any]:
    """Return what the manifest says of a definition that is put aside."""
    return {
        "name": item.name,
        "cause": cause,
        "reason": reason,
        "configs": list(item.configs),
    }
