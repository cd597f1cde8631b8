"""What normalising writes: definitions with their sources, the quarantined, and what is neither.

candidates/{config}/definitions/{op_type}/{name}.json
candidates/{config}/quarantine.json   [{name, cause, reason, sources}]
candidates/{config}/index.json        config, capture, versions, definitions, not_definitions
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.draft import Draft, ordered
from kerneldefs.definition.tags import UNLESS_SEEN
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json

INDEX_FILE = "index.json"
QUARANTINE_FILE = "quarantine.json"
DEFINITIONS_FOLDER = "definitions"


@dataclasses.dataclass(frozen=True, order=True)
class Source:
    """Where a definition was seen, in brief."""

    op: str
    phase: str
    layer: str
    origin: str
    count: int


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A definition that passed the checks, with what led to it.

    `dumped` names the files of FlashInfer's dump that it was made of.
    """

    definition: Draft
    repairs: tuple[str, ...]
    sources: tuple[Source, ...]
    dumped: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the definition's name."""
        return str(self.definition["name"])

    @property
    def path(self) -> str:
        """Return the file's place below a definitions folder."""
        return f"{self.definition['op_type']}/{self.name}.json"


@dataclasses.dataclass(frozen=True)
class Quarantined:
    """What must not be staged: a cause id to count by, and a sentence."""

    name: str
    cause: str
    reason: str
    sources: tuple[Source, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Quarantined:
        """Build from `to_json` data."""
        sources = tuple(Source(**source) for source in data["sources"])
        return Quarantined(**{**data, "sources": sources})


def source_of(call: KernelCall) -> Source:
    """Return a call in brief."""
    return Source(call.op, call.phase, call.layer, call.origin, call.count)


def united(sources: Iterable[Source]) -> tuple[Source, ...]:
    """Return sources that differ only in count as one, sorted."""
    counts: dict[tuple[str, str, str, str], int] = {}
    for source in sources:
        key = (source.op, source.phase, source.layer, source.origin)
        counts[key] = counts.get(key, 0) + source.count
    return tuple(sorted(Source(*key, count) for key, count in counts.items()))


def definition_text(definition: Draft) -> str:
    """Return a definition file's text: keys in the dataset's order, inputs in the kernel's."""
    return json.dumps(ordered(definition), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def content(definition: Draft) -> str:
    """Return what makes two definitions the same one: everything but tags, order included."""
    return json.dumps({key: value for key, value in ordered(definition).items() if key != "tags"})


Item = TypeVar("Item")


def grouped(items: Iterable[Item], of: Callable[[Item], Draft]) -> list[list[list[Item]]]:
    """Return the items by definition name, then by content, both sorted.

    The order of contents is that of their text: it does not depend on what was captured first. What
    nothing but a derivation led to comes last, so that it never takes the place of a capture.
    """
    names: dict[str, dict[str, list[Item]]] = {}
    for item in items:
        definition = of(item)
        same = names.setdefault(str(definition["name"]), {})
        same.setdefault(content(definition), []).append(item)

    def place(pair: tuple[str, list[Item]]) -> tuple[int, str]:
        tags = [list(of(item)["tags"]) for item in pair[1]]
        return sum(all(_says(t, start) for t in tags) for start in UNLESS_SEEN), pair[0]

    return [
        [group for _, group in sorted(names[name].items(), key=place)] for name in sorted(names)
    ]


def _says(tags: Sequence[str], start: str) -> bool:
    return any(tag.startswith(start) for tag in tags)


def with_all_tags(definitions: Sequence[Draft]) -> Draft:
    """Return the first of several definitions of one content, with the tags of all, sorted.

    That nothing but a derivation or a variant led to it is said only where each of them says so,
    and of several such words the first: what is derived of an observed call outweighs a prediction.
    """
    each = [set(definition["tags"]) for definition in definitions]
    kept = {tag for tags in each for tag in tags if not tag.startswith(UNLESS_SEEN)}
    for kind in UNLESS_SEEN:
        words = [{tag for tag in tags if tag.startswith(kind)} for tags in each]
        if all(words):
            kept.add(min(set.union(*words)))
    return {**definitions[0], "tags": sorted(kept)}


def differing(one: Draft, other: Draft) -> str:
    """Return in words where two definitions differ, tags apart."""
    untagged = [{k: v for k, v in draft.items() if k != "tags"} for draft in (one, other)]
    return f"they differ in {'; '.join(difference(untagged[0], untagged[1]))}"


def difference(one: Any, other: Any, where: str = "") -> list[str]:
    """Return the places where two JSON values differ, as paths."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in sorted({*one, *other}):
            place = f"{where}/{key}" if where else str(key)
            if key not in one or key not in other:
                found.append(f"{place} (only in one)")
            else:
                found += difference(one[key], other[key], place)
        if not found and list(one) != list(other):
            found.append(f"{where or 'definition'} (order)")
        return found
    if one == other:
        return []
    # Not canonical_json, which refuses the Infinity that a dataset's file may hold.
    shown = [json.dumps(value, sort_keys=True, ensure_ascii=False) for value in (one, other)]
    short = all(len(text) <= 60 for text in shown)
    return [f"{where}: {shown[0]} and {shown[1]}" if short else where]


def load_candidates(folder: Path) -> tuple[dict[str, Any], list[Candidate], list[Quarantined]]:
    """Read a candidates directory: its index, its definitions, and what it quarantined."""
    index = read_json(folder / INDEX_FILE)
    quarantined = [Quarantined.from_json(item) for item in read_json(folder / QUARANTINE_FILE)]
    found = []
    for name, entry in sorted(index["definitions"].items()):
        path = folder / DEFINITIONS_FOLDER / entry["path"]
        if not path.resolve().is_relative_to(folder.resolve()):
            raise KerneldefsError(f"{path}: outside of {folder}; normalise this config again")
        definition = read_json(path)
        if definition.get("name") != name:
            raise KerneldefsError(
                f"{folder / entry['path']}: holds {definition.get('name')}, the index says {name}; "
                "normalise this config again"
            )
        sources = tuple(Source(**source) for source in entry["sources"])
        dumped = tuple(entry.get("dumped", ()))
        found.append(Candidate(definition, tuple(entry["repairs"]), sources, dumped))
    return index, found, quarantined
