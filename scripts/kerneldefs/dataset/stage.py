"""Many candidates directories of one model -> one definitions tree and its manifest."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kerneldefs.dataset.changes import CHANGES_FILE, changes
from kerneldefs.dataset.existing import Dataset, Match
from kerneldefs.dataset.tree import fingerprint
from kerneldefs.dataset.union import Staged, lost_row, unite
from kerneldefs.definition.candidates import Candidate, definition_text, load_candidates
from kerneldefs.definition.execution.gate import outcomes_of, tagged, why
from kerneldefs.definition.execution.limits import Limits, Outcome
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import (
    canonical_json,
    read_json,
    replaced_directory,
    write_json,
    write_text,
)

# The manifest again, in the tree itself. A workflow may delete the manifest before it asks for a
# new one, and then nothing else would tell which files may be pruned, and what changed.
NOTE = ".staged"

CONFLICT = "dataset-conflict"


@dataclasses.dataclass(frozen=True)
class Selection:
    """What is staged, and what is not with the reason for it."""

    staged: tuple[Staged, ...]
    existing: tuple[dict[str, Any], ...]
    filtered: tuple[dict[str, Any], ...]
    quarantined: tuple[dict[str, Any], ...]


def load_model(folders: Iterable[Path], model: str) -> list[tuple[str, Candidate]]:
    """Read the candidates of all of a model's configs, sorted by config id."""
    found = []
    for folder in folders:
        index, candidates, _ = load_candidates(folder)
        if index["model"] != model:
            raise KerneldefsError(
                f"{folder}: candidates of {index['model']}, not of {model}; give one model's only"
            )
        found += [(str(index["config"]), candidate) for candidate in candidates]
    return sorted(found, key=lambda pair: pair[0])


def select(
    found: Sequence[tuple[str, Candidate]],
    dataset: Dataset | None = None,
    skip_existing: bool = True,
    op_types: Collection[str] = (),
) -> Selection:
    """Decide what is staged. Nothing is lost: what is not staged is listed with the reason."""
    definitions, collided = unite(found)
    staged: list[Staged] = []
    existing: list[dict[str, Any]] = []
    filtered: list[dict[str, Any]] = []
    quarantined = list(collided)
    for item in definitions:
        match = dataset.find(item.definition) if dataset else None
        if op_types and item.definition["op_type"] not in op_types:
            filtered.append(item.brief())
        elif match is None:
            staged.append(item)
        elif match.differences and skip_existing:
            quarantined.append(lost_row(item, CONFLICT, _conflict(match)))
        else:
            existing.append(_existing(item, match, staged=not skip_existing))
            staged += [] if skip_existing else [item]
    return Selection(tuple(staged), tuple(existing), tuple(filtered), tuple(quarantined))


def executed(
    selection: Selection, cache: Path | None = None, limits: Limits | None = None
) -> Selection:
    """Run the references of what is to be staged; what fails is quarantined with the reason.

    One that agreed with an independent implementation is tagged verified.
    """
    outcomes = outcomes_of([item.definition for item in selection.staged], cache, limits)
    kept, lost = [], []
    for item, outcome in zip(selection.staged, outcomes, strict=True):
        if outcome.passed:
            definition = tagged(item.definition, outcome)
            kept.append(
                dataclasses.replace(item, definition=definition, execution=_execution(outcome))
            )
        else:
            lost.append(lost_row(item, *why(outcome)))
    return dataclasses.replace(
        selection, staged=tuple(kept), quarantined=(*selection.quarantined, *lost)
    )


def _execution(outcome: Outcome) -> dict[str, Any]:
    """What the manifest says of a run: nothing that another run would say otherwise."""
    against = (outcome.agreement or {}).get("against")
    return {"verified": outcome.verified, "against": against, "scaled": list(outcome.scaled)}


def _conflict(match: Match) -> str:
    return (
        f"the dataset's {match.path} has this name and another structure; they differ in "
        f"{'; '.join(match.differences)}"
    )


def _existing(item: Staged, match: Match, staged: bool) -> dict[str, Any]:
    return {
        **item.brief(),
        "tags": item.definition["tags"],
        "dataset_path": match.path,
        "dataset_name": match.name,
        "differences": list(match.differences),
        "staged": staged,
    }


def manifest_of(
    model: str, selection: Selection, provenance: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Return the manifest: every staged file with sha256 and size, and what is not staged.

    `provenance` says what all of it was made from and with, see dataset/provenance.py.
    """
    texts = {item.path: definition_text(item.definition).encode() for item in selection.staged}
    return {
        **provenance,
        "model": model,
        "files": {path: fingerprint(text) for path, text in sorted(texts.items())},
        "definitions": {item.path: item.brief() for item in selection.staged},
        "existing": list(selection.existing),
        "filtered": list(selection.filtered),
        "quarantined": list(selection.quarantined),
    }


def write_tree(
    selection: Selection,
    model: str,
    out: Path,
    manifest: Path,
    provenance: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, int]:
    """Bring a definitions tree to a selection, all at once; return how many files changed.

    A new tree is built beside the old one and takes its place. Files that stay as they are keep
    their inode and time; files that were staged before and no config produces any more are left
    out; files that were never staged stay. Where this changes what was staged, changes.json beside
    the manifest says how; it is written before the tree, so that a crash between loses nothing.
    """
    wanted = {item.path: definition_text(item.definition) for item in selection.staged}
    after, before = manifest_of(model, selection, provenance), _before(out)
    found = changes(before, out, after, wanted)
    if found:
        write_json(manifest.with_name(CHANGES_FILE), found)
    counts = _replace_tree(out, wanted, set(before.get("files", {})), canonical_json(after))
    write_json(manifest, after)
    return counts


def _replace_tree(
    out: Path, wanted: Mapping[str, str], before: Collection[str], note: str
) -> dict[str, int]:
    counts = {"written": 0, "kept": 0, "removed": 0}
    with replaced_directory(out) as fresh:
        for path in sorted(_files(out) - {NOTE}):
            old = out / path
            if path in wanted and old.read_bytes() == wanted[path].encode():
                _carry(old, fresh / path)
                counts["kept"] += 1
            elif path not in wanted and path in before:
                counts["removed"] += 1
            elif path not in wanted:
                _carry(old, fresh / path)
        for path, text in sorted(wanted.items()):
            if not (fresh / path).exists():
                write_text(fresh / path, text)
                counts["written"] += 1
        write_text(fresh / NOTE, note)
    return counts


def _before(out: Path) -> dict[str, Any]:
    """Return the manifest that a tree was staged with; empty for one that was not, or no longer."""
    with contextlib.suppress(KerneldefsError):
        data = read_json(out / NOTE)
        if isinstance(data, dict) and isinstance(data.get("files"), dict):
            return data
    return {}


def _files(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _carry(old: Path, new: Path) -> None:
    """Put an unchanged file into the new tree; a link keeps its time, a copy is made to."""
    new.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.link(old, new)
        return
    shutil.copy2(old, new)
