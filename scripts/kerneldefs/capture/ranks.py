"""The dumps of several ranks as one: the same name must have the same content everywhere.

Ranks differ in what they hold (experts, heads) and, under DP attention, in which requests reach
them; so a definition that only some ranks dumped is kept, and listed with its ranks.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from kerneldefs.capture.record import (
    DUMP_FOLDER,
    TEMPLATES_FILE,
    Template,
    read_templates,
    write_templates,
)
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import canonical_json


@dataclasses.dataclass(frozen=True)
class Union:
    """What several ranks dumped: per name its ranks, in order."""

    ranks: tuple[int, ...]
    names: dict[str, tuple[int, ...]]

    @property
    def partial(self) -> dict[str, list[int]]:
        """Return the names that not every rank dumped, with the ranks that did."""
        return {n: list(found) for n, found in self.names.items() if found != self.ranks}


def rank_folders(capture: Path) -> dict[int, Path]:
    """Return the rank folders of a capture directory, by rank."""
    found = {}
    for path in capture.glob("rank*"):
        number = path.name.removeprefix("rank")
        if path.is_dir() and number.isdigit():
            found[int(number)] = path
    return dict(sorted(found.items()))


def unite(capture: Path) -> Union:
    """Compare the dumps of a capture's ranks.

    Raises KerneldefsError where one name has two contents, showing where they differ.
    """
    folders = rank_folders(capture)
    first: dict[str, tuple[int, Any]] = {}
    names: dict[str, list[int]] = {}
    for rank, folder in folders.items():
        for path in sorted((folder / DUMP_FOLDER).glob("*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            where, seen = first.setdefault(path.stem, (rank, content))
            if seen != content:
                raise KerneldefsError(
                    f"{capture}: ranks {where} and {rank} dumped different definitions as "
                    f"{path.stem}: {'; '.join(differences(seen, content))}; "
                    "one name cannot mean two kernels: report it"
                )
            names.setdefault(path.stem, []).append(rank)
    return Union(tuple(folders), {name: tuple(names[name]) for name in sorted(names)})


def unite_templates(capture: Path) -> None:
    """Write the capture's templates.json from those of its ranks, and remove these."""
    templates: dict[str, Template] = {}
    for folder in rank_folders(capture).values():
        path = folder / TEMPLATES_FILE
        templates |= read_templates(path)
        path.unlink()
    write_templates(capture / TEMPLATES_FILE, templates)


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Return where two JSON values differ: the path, then both values, shortened."""
    if isinstance(one, dict) and isinstance(other, dict):
        absent = "absent"
        found = []
        for key in sorted({*one, *other}):
            place = f"{where}/{key}" if where else str(key)
            found += differences(one.get(key, absent), other.get(key, absent), place)
        return found
    if one == other:
        return []
    shown = [canonical_json(value, indent=None)[:120] for value in (one, other)]
    return [f"{where or 'value'}: {shown[0]} and {shown[1]}"]
