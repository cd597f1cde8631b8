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
    belongs to it, see dataset/classes.py.
    """

    definition: dict[str, Any]
    configs: tuple[str, ...]
    repairs: tuple[str, ...]
    execution: Mapping[str, Any] | None = None
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

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
            **self.about,
            **({} if self.execution is None else {"execution": dict(self.execution)}),
        }


def unite(found: Sequence[tuple[str, Candidate]]) -> tuple[list[Staged], list[dict[str, Any]]]:
    """Return one definition per name with tags united, and the others of a name.

    Of several contents under one name those that a word tells apart get the word (see
    definition/collisions.py). Of the others the first in the order of their text stays, which does
    not depend on which config was captured first.
    """
    kept: list[Staged] = []
    lost: list[dict[str, Any]] = []
    apart = told_apart(found, lambda pair: pair[1].definition, _with_definition)
    for groups in grouped(apart, lambda pair: pair[1].definition):
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
    )


def _with_definition(
    pair: tuple[str, Candidate], definition: dict[str, Any]
) -> tuple[str, Candidate]:
    return pair[0], dataclasses.replace(pair[1], definition=definition)


def _as_one(group: list[tuple[str, Candidate]]) -> Staged:
    definition = with_all_tags([candidate.definition for _, candidate in group])
    repairs = dict.fromkeys(step for _, candidate in group for step in candidate.repairs)
    return Staged(definition, tuple(sorted({config for config, _ in group})), tuple(repairs))


def lost_row(item: Staged, cause: str, reason: str) -> dict[str, Any]:
    """Return what the manifest says of a definition that is put aside."""
    return {
        "name": item.name,
        "cause": cause,
        "reason": reason,
        "configs": list(item.configs),
    }
