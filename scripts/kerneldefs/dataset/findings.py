"""The checks of a definitions tree, and of it against its manifest."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.dataset.tree import Entry, fingerprint, read_tree
from kerneldefs.definition.candidates import DEFINITIONS_FOLDER
from kerneldefs.definition.checks import ERROR, Finding, Subject, run_checks
from kerneldefs.definition.execution.gate import outcomes_of
from kerneldefs.definition.execution.limits import Outcome
from kerneldefs.definition.signature import signature
from kerneldefs.errors import KerneldefsError

UNREAD = "json"  # the id of the finding of a file that holds no JSON


@dataclasses.dataclass(frozen=True)
class Checked:
    """One file of a tree with what was found wrong with it."""

    path: str
    definition: dict[str, Any]  # empty when the file holds none
    findings: tuple[Finding, ...]

    @property
    def unread(self) -> bool:
        """Whether the file could not be read, so that no check was made."""
        return any(finding.check == UNREAD for finding in self.findings)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Return the findings that make the tree invalid."""
        return tuple(finding for finding in self.findings if finding.severity == ERROR)


def check_tree(
    folder: Path, op_types: Collection[str] = (), names: Collection[str] = ()
) -> list[Checked]:
    """Check every definition below a folder, or those of some op_types or names only.

    The root of a dataset may be given instead of its definitions folder. An op_type or name of
    which there is nothing is an error, so that a slip of the pen checks not less than was asked.
    """
    if not folder.is_dir():
        raise KerneldefsError(f"{folder}: no such directory; give a folder of definitions")
    below = folder / DEFINITIONS_FOLDER
    checked = [check_entry(entry) for entry in read_tree(below if below.is_dir() else folder)]
    twice = _alike(checked, lambda item: item.definition["name"])
    kernels = _alike(checked, lambda item: signature(item.definition))
    found = []
    for item in checked:
        name, op_type = item.definition.get("name"), item.path.split("/")[0]
        if (op_types and op_type not in op_types) or (names and name not in names):
            continue
        same_name = twice[item.path]
        same_kernel = [path for path in kernels[item.path] if path not in same_name]
        for others, check, message in (
            (same_name, "one-name", "has the same name"),
            (same_kernel, "one-kernel", "is the same kernel: their signatures are equal"),
        ):
            if others:
                finding = Finding(check, ERROR, f"{', '.join(others)} {message}")
                item = dataclasses.replace(item, findings=(*item.findings, finding))
        found.append(item)
    _require("op_type", op_types, [item.path.split("/")[0] for item in found], folder)
    _require("name", names, [item.definition.get("name") for item in found], folder)
    return found


def _require(what: str, asked: Collection[str], found: Collection[Any], folder: Path) -> None:
    missing = [word for word in asked if word not in found]
    if missing:
        raise KerneldefsError(
            f"{folder}: no definition has the {what} {missing[0]!r}; list the folder for the others"
        )


def execute(checked: Iterable[Checked], cache: Path | None = None) -> list[Checked]:
    """Run the references of those that have no errors; a failing one is an error of its file."""
    items = list(checked)
    sound = [item.definition for item in items if not item.errors]
    outcomes = iter(outcomes_of(sound, cache))
    return [item if item.errors else _executed(item, next(outcomes)) for item in items]


def _executed(item: Checked, outcome: Outcome) -> Checked:
    if outcome.passed:
        return item
    finding = Finding("reference", ERROR, f"the reference fails: {outcome.reason}")
    return dataclasses.replace(item, findings=(*item.findings, finding))


def check_entry(entry: Entry) -> Checked:
    """Check one file."""
    if entry.problem is not None:
        return Checked(entry.path, {}, (Finding(UNREAD, ERROR, entry.problem),))
    findings = tuple(run_checks(Subject(entry.content, entry.path)))
    definition = entry.content if isinstance(entry.content, dict) else {}
    return Checked(entry.path, definition, findings)


def _alike(checked: Iterable[Checked], of: Callable[[Checked], Any]) -> dict[str, list[str]]:
    """Return by path the other files of which a question has the same answer."""
    paths: dict[Any, list[str]] = {}
    answers = {}
    for item in checked:
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
            answer = of(item)  # what fits no schema has no answer
            paths.setdefault(answer, []).append(item.path)
            answers[item.path] = answer
    alike = {path: paths[answer] for path, answer in answers.items()}
    return collections.defaultdict(
        list, {path: [p for p in same if p != path] for path, same in alike.items()}
    )


def check_manifest(folder: Path, manifest: Mapping[str, Any]) -> list[tuple[str, Finding]]:
    """Return where the files of a tree are not those of its manifest."""
    found = []
    for path, listed in sorted(manifest["files"].items()):
        try:
            actual = fingerprint((folder / path).read_bytes())
        except OSError:
            found.append((path, Finding("manifest", ERROR, "the file is missing; stage again")))
            continue
        if actual != listed:
            message = "the file is not the one that was staged; stage again"
            found.append((path, Finding("manifest", ERROR, message)))
    return found
