"""The coverage matrix: what each serving config calls, and what became of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# Status -> the mark that stands for it where there is no room for the word, and what it means.
STATUSES = {
    "captured": ("C", "FlashInfer dumped it while the serving config ran; staged"),
    "derived": ("D", "made from a call that FlashInfer did not dump, or by a convention; staged"),
    "existing": ("E", "the dataset has it already, by structure"),
    "filtered": ("F", "of an op type that was not asked for"),
    "quarantined": ("Q", "not staged, because it could not be made true"),
    "missing": ("M", "called, and no definition describes it"),
}
NO_FAMILY = "other calls"
# Calls that compute nothing themselves, so that no definition of theirs is missing.
_PLANNING = ("plan", "begin_forward")
_ORIGIN = "origin:"  # starts the tag of what no dump is behind


@dataclasses.dataclass(frozen=True)
class Head:
    """A cell of the matrix's head, over the columns of `configs`."""

    text: str
    configs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Loss:
    """What keeps a row from being staged: `quarantined` or `missing`, the reason, and where."""

    row: Row
    status: str
    cause: str
    reason: str
    configs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Row:
    """One definition, or one call without, and its status in each serving config."""

    name: str
    family: str
    cells: Mapping[str, tuple[str, ...]]  # config id -> statuses, in the order of STATUSES
    items: tuple[Mapping[str, Any], ...]  # the report's entries, a staged definition's first

    @property
    def item(self) -> Mapping[str, Any]:
        """Return the entry that says most."""
        return self.items[0]

    @property
    def statuses(self) -> list[str]:
        """Return every status that the row has in some config."""
        found = {status for cell in self.cells.values() for status in cell}
        return [status for status in STATUSES if status in found]


def rows_of(report: Mapping[str, Any]) -> list[Row]:
    """Return the matrix's rows, by family and name; a name's several statuses are one row."""
    cells: dict[tuple[str, str], dict[str, set[str]]] = {}
    items: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    families = {item["name"]: item["op_type"] for item in report["definitions"]}
    for item, status_in in _entries(report):
        name = str(item.get("name") or item.get("op") or item.get("path"))
        family = str(item.get("op_type") or families.get(name) or _family(item))
        items.setdefault((family, name), []).append(item)
        row = cells.setdefault((family, name), {})
        for config in item["configs"]:
            row.setdefault(config, set()).add(status_in(config))
    return [
        Row(name, family, {c: _ordered(found) for c, found in row.items()}, tuple(items[key]))
        for key, row in sorted(cells.items())
        for family, name in [key]
    ]


def losses_of(rows: Iterable[Row]) -> list[Loss]:
    """Return what was called and is not staged, each reason for itself: the missing first."""
    found = [
        Loss(
            row,
            "quarantined" if "cause" in item else "missing",
            str(item.get("cause", "")),
            str(item["reason"] if "cause" in item else item["why"]),
            tuple(item["configs"]),
        )
        for row in rows
        for item in row.items
        if "cause" in item or "why" in item
    ]
    return sorted(found, key=lambda loss: (loss.status, loss.row.name, loss.reason))


def heads_of(configs: Iterable[str]) -> list[list[Head]]:
    """Return the rows of the matrix's head: hardware, split and weights, the rest of the ids.

    What neighbours share stands once over them, so that a column takes little room:
    h200-tp8-fp8-auto and h200-tp8-fp8-flashinfer are `h200`, `tp8-fp8`, `auto` and `flashinfer`.
    """
    rows: list[list[Head]] = [[], [], []]
    before: tuple[str, ...] = ()
    for config in configs:
        words = config.split("-")
        parts = (words[0], "-".join(words[1:-1]), words[-1] if words[1:] else "")
        for level, part in enumerate(parts):
            shared = level < len(parts) - 1 and parts[: level + 1] == before[: level + 1]
            over = (*rows[level].pop().configs, config) if shared else (config,)
            rows[level].append(Head(part, over))
        before = parts
    return rows


def status_of(item: Mapping[str, Any], config: str) -> str:
    """Return a staged definition's status in a config: captured where FlashInfer dumped it there.

    What was derived says so in a tag; a definition may be captured in one config and derived in
    another.
    """
    derived = any(tag.startswith(_ORIGIN) for tag in item.get("tags", ()))
    return "derived" if derived and not item.get("dumped", {}).get(config) else "captured"


def families_of(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows by family, in order."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row.family, []).append(row)
    return families


def totals(rows: Iterable[Row]) -> dict[str, int]:
    """Return how many rows have each status; one that has several counts for each."""
    counts = dict.fromkeys(STATUSES, 0)
    for row in rows:
        for status in row.statuses:
            counts[status] += 1
    return counts


def _entries(
    report: Mapping[str, Any],
) -> Iterable[tuple[Mapping[str, Any], Callable[[str], str]]]:
    """Yield every entry of the report that is a row, with its status in a config."""
    for item in report["definitions"]:
        yield item, functools.partial(status_of, item)
    others = {
        "existing": [item for item in report["existing"] if not item["staged"]],
        "filtered": report["filtered"],
        "quarantined": report["quarantined"],
        "missing": [
            item
            for item in report["not_definitions"]
            if item["op"].rsplit(".", 1)[-1] not in _PLANNING
        ],
    }
    for status, items in others.items():
        yield from ((item, lambda _, status=status: status) for item in items)


def _family(item: Mapping[str, Any]) -> str:
    """Return the family of what has no op_type: that of the op which was called."""
    sources = item.get("sources") or ()
    op = item.get("op") or (sources[0]["op"] if sources else "")
    words = str(op).split(".")
    return words[1] if words[0] == "flashinfer" and len(words) > 2 else NO_FAMILY


def _ordered(found: Iterable[str]) -> tuple[str, ...]:
    known = set(found)
    return tuple(status for status in STATUSES if status in known)
