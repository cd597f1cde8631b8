"""What publishing would do to a dataset, decided before a byte is written.

Three things can come of a definition: its file is new and added; the dataset has the kernel, under
this name or another, and its tags are united; or the dataset has something else under this name,
which stays, and the definition is a conflict for a person to solve.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kerneldefs.dataset.existing import Dataset
from kerneldefs.dataset.stage import CONFLICT
from kerneldefs.dataset.tree import fingerprint
from kerneldefs.definition.candidates import DEFINITIONS_FOLDER, definition_text
from kerneldefs.definition.readable import readable
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json, write_text
from kerneldefs.publish.tags import with_tags

ADD, UNITE, SAME, CONFLICTS = "added", "united", "unchanged", "conflict"
_REMOVED_FOLDER = "flashinfer_trace"


@dataclasses.dataclass(frozen=True)
class Step:
    """What becomes of one definition of one model.

    `path` is relative to the dataset, of the file that is added or that the dataset has; `text` is
    the file's new content, "" where nothing is written; `tags` are those that were new to it.
    """

    kind: str
    model: str
    name: str
    path: str
    text: str = ""
    tags: tuple[str, ...] = ()
    reason: str = ""
    diff: str = ""


def destination(folder: Path) -> Path:
    """Return a dataset's root; a folder that must not be published into is an error."""
    resolved = folder.resolve()
    for place in (resolved, *resolved.parents):
        if place.name == _REMOVED_FOLDER and (place.parent / "flashinfer_bench").is_dir():
            raise KerneldefsError(
                f"{folder}: flashinfer-bench has removed its {_REMOVED_FOLDER} folder, and "
                "definitions live in the dataset flashinfer-ai/flashinfer-trace; give a clone of it"
            )
    Dataset(folder)  # raises where it is no dataset
    return folder


def plan(models: Sequence[Path], dataset: Path) -> list[Step]:
    """Return what publishing the results folders of models would do, by model and name."""
    planner = _Planner(destination(dataset))
    return [step for folder in models for step in planner.steps(folder)]


def write(steps: Iterable[Step], dataset: Path) -> None:
    """Write what was planned; each file at once, so that a broken run leaves whole files."""
    last = {step.path: step.text for step in steps if step.text}
    for path, text in sorted(last.items()):
        write_text(dataset / path, text)


class _Planner:
    """The dataset as it will be: `_texts` holds the files that earlier steps change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._dataset = Dataset(folder)
        self._texts: dict[str, str] = {}

    def steps(self, folder: Path) -> list[Step]:
        """Return the steps of one model's results."""
        report, manifest = read_json(folder / "report.json"), read_json(folder / "manifest.json")
        model = str(manifest["model"])
        if not report["ok"]:
            raise KerneldefsError(
                f"{folder}: its report has {len(report['errors'])} errors, so nothing of it is "
                f"published; {folder / 'report.txt'} explains"
            )
        found = [self._staged(model, folder, path, manifest) for path in manifest["files"]]
        found += [
            self._unite(model, row["name"], row["dataset_path"], row["tags"])
            for row in manifest["existing"]
            if not row["staged"]
        ]
        found += [
            self._conflict(model, row["name"], row["reason"], _candidate(folder, row))
            for row in manifest["quarantined"]
            if row["cause"] == CONFLICT
        ]
        return sorted(found, key=lambda step: step.name)

    def _staged(self, model: str, folder: Path, path: str, manifest: Mapping[str, Any]) -> Step:
        data = (folder / DEFINITIONS_FOLDER / path).read_bytes()
        if fingerprint(data) != manifest["files"][path]:
            raise KerneldefsError(
                f"{folder / DEFINITIONS_FOLDER / path}: is not the file that was staged; run the "
                "workflow again"
            )
        definition = json.loads(data)
        name, place = str(definition["name"]), f"{DEFINITIONS_FOLDER}/{path}"
        if place in self._texts:
            if _content(json.loads(self._texts[place])) == _content(definition):
                return self._unite(model, name, path, definition["tags"])
            return self._conflict(model, name, "another model publishes it too", definition)
        match = self._dataset.find(definition)
        if match is None:
            self._texts[place] = definition_text(definition)
            tags = tuple(definition["tags"])
            return Step(ADD, model, name, place, self._texts[place], tags)
        if match.differences:
            reason = f"{match.path} differs in {'; '.join(match.differences)}"
            return self._conflict(model, name, reason, definition, match.path)
        return self._unite(model, name, match.path, definition["tags"])

    def _unite(self, model: str, name: str, path: str, tags: Iterable[str]) -> Step:
        place = f"{DEFINITIONS_FOLDER}/{path}"
        before = self._read(place)
        after = with_tags(before, tags)
        if after == before:
            return Step(SAME, model, name, place)
        self._texts[place] = after
        had = json.loads(before).get("tags", [])
        new = tuple(tag for tag in json.loads(after)["tags"] if tag not in had)
        return Step(UNITE, model, name, place, after, new)

    def _conflict(
        self, model: str, name: str, reason: str, definition: Mapping[str, Any], path: str = ""
    ) -> Step:
        place = f"{DEFINITIONS_FOLDER}/{path or _file_of(definition)}"
        theirs, ours = _comparable(self._read(place)), _comparable(definition_text({**definition}))
        lines = difflib.unified_diff(theirs, ours, place, "staged", lineterm="", n=1)
        return Step(CONFLICTS, model, name, place, reason=reason, diff="\n".join(lines) + "\n")

    def _read(self, place: str) -> str:
        if place not in self._texts:
            try:
                return (self._folder / place).read_text(encoding="utf-8")
            except FileNotFoundError:
                raise KerneldefsError(
                    f"{self._folder / place}: is gone, and the definition was staged as one that "
                    "the dataset has; run the workflow with this dataset again"
                ) from None
        return self._texts[place]


def _comparable(text: str) -> list[str]:
    """Return a file's lines for a diff: without tags, which can be united whatever they are."""
    try:
        return readable({**json.loads(text), "tags": []}).splitlines()
    except (AttributeError, TypeError, ValueError):
        return text.splitlines()  # no definition


def _file_of(definition: Mapping[str, Any]) -> str:
    return f"{definition['op_type']}/{definition['name']}.json"


def _content(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in definition.items() if key != "tags"}


def _candidate(folder: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was normalised under the name of a quarantined row."""
    for made in ("candidates", "derived"):
        for config in row["configs"]:
            candidates = folder / made / config / DEFINITIONS_FOLDER
            for path in sorted(candidates.glob(f"*/{row['name']}.json")):
                found: dict[str, Any] = read_json(path)
                return found
    raise KerneldefsError(f"{folder}: no candidate is called {row['name']}; run the workflow again")
