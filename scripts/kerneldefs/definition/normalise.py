"""From a capture directory to candidates: every distinct call is repaired on its own evidence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from kerneldefs.capture.record import (
    CALLS_FILE,
    CAPTURE_FILE,
    CAPTURED,
    DUMP_FOLDER,
    FAILED,
    REFUSED,
    TEMPLATES_FILE,
    KernelCall,
    Template,
    read_calls,
    read_templates,
)
from kerneldefs.definition import crosscheck
from kerneldefs.definition.candidates import (
    DEFINITIONS_FOLDER,
    INDEX_FILE,
    QUARANTINE_FILE,
    Candidate,
    Quarantined,
    definition_text,
    differing,
    grouped,
    source_of,
    united,
    with_all_tags,
)
from kerneldefs.definition.checks import Finding, Subject, errors, run_checks
from kerneldefs.definition.collisions import told_apart
from kerneldefs.definition.draft import Draft, Quarantine, const_axes
from kerneldefs.definition.form import require_form
from kerneldefs.definition.naming import definition_name
from kerneldefs.definition.repair import repair
from kerneldefs.definition.tags import config_tags, public_api, with_tags
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json, replaced_directory, write_json, write_text
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.ranksizes import RankSizes


@dataclasses.dataclass(frozen=True)
class Normalised:
    """What one serving config's capture came to."""

    index: dict[str, Any]
    candidates: tuple[Candidate, ...]
    quarantined: tuple[Quarantined, ...]


def normalise(
    config: ServingConfig,
    capture: Path,
    predicted: RankSizes | None = None,
) -> Normalised:
    """Return the candidates of a capture directory; a refused capture has none.

    Const axes are held against `predicted`, what config.json says of a rank.
    """
    summary = read_json(capture / CAPTURE_FILE)
    status = summary.get("status") if isinstance(summary, dict) else None
    if status not in (CAPTURED, REFUSED, FAILED):
        raise KerneldefsError(
            f"{capture / CAPTURE_FILE}: status is {status!r}, not captured, refused or failed; "
            "run the capture again"
        )
    found: list[Candidate] = []
    lost: list[Quarantined] = []
    others: list[KernelCall] = []
    if status == CAPTURED:
        release = _release(summary)
        templates = read_templates(capture / TEMPLATES_FILE)
        ranks = sorted(capture.glob(f"rank*/{CALLS_FILE}"))
        if not ranks:
            raise KerneldefsError(f"{capture}: no rank*/{CALLS_FILE}; run the capture again")
        for calls in ranks:
            rank = _Rank(calls.parent / DUMP_FOLDER, templates, release, config, predicted)
            rank.read(read_calls(calls))
            found += rank.found
            lost += rank.lost
            others += rank.others
    candidates, collided = unite(found)
    quarantined = merged([*lost, *collided])
    index = {
        "config": config.id,
        "model": config.model,
        "capture": {"status": status, "reason": summary.get("reason", "")},
        "versions": summary.get("versions", {}),
        "definitions": {
            candidate.name: {
                "op_type": candidate.definition["op_type"],
                "path": candidate.path,
                "repairs": list(candidate.repairs),
                "sources": [dataclasses.asdict(source) for source in candidate.sources],
                "dumped": list(candidate.dumped),
            }
            for candidate in candidates
        },
        "not_definitions": _not_definitions(others),
    }
    return Normalised(index, tuple(candidates), tuple(quarantined))


def write_candidates(result: Normalised, out: Path) -> None:
    """Write a candidates directory, whole or not at all."""
    with replaced_directory(out) as folder:
        for candidate in result.candidates:
            text = definition_text(candidate.definition)
            write_text(folder / DEFINITIONS_FOLDER / candidate.path, text)
        write_json(folder / QUARANTINE_FILE, [item.to_json() for item in result.quarantined])
        write_json(folder / INDEX_FILE, result.index)


def _release(summary: dict[str, Any]) -> str | None:
    versions = summary.get("versions", {})
    release = versions.get("flashinfer-python") or versions.get("flashinfer")
    return release if isinstance(release, str) else None


class _Rank:
    """The calls and dumps of one rank."""

    def __init__(
        self,
        dumps: Path,
        templates: dict[str, Template],
        release: str | None,
        config: ServingConfig,
        predicted: RankSizes | None,
    ) -> None:
        self.found: list[Candidate] = []
        self.lost: list[Quarantined] = []
        self.others: list[KernelCall] = []
        self._dumps = dumps
        self._templates = templates
        self._release = release
        self._config = config
        self._predicted = predicted
        self._failed: dict[str, list[Finding]] = {}  # by the text of what was checked

    def read(self, calls: list[KernelCall]) -> None:
        """Repair every call; list calls that are no definition, and dumps without a call."""
        for call in calls:
            if call.template is None and call.definition is None:
                self.others.append(call)
                continue
            try:
                self.found.append(self._candidate(call))
            except Quarantine as error:
                name = call.definition or public_api(call.op)
                lost = Quarantined(name, error.cause, error.reason, (source_of(call),))
                self.lost.append(lost)
        named = {call.definition for call in calls}
        for path in sorted(self._dumps.glob("*.json")):
            if path.stem not in named:
                reason = f"{path.name} was dumped and no recorded call names it"
                self.lost.append(Quarantined(path.stem, "no-call", reason, ()))

    def _candidate(self, call: KernelCall) -> Candidate:
        template = self._templates.get(call.template or "")
        if template is None:
            raise Quarantine("no-template", f"the capture has no template {call.template}")
        repaired = repair(self._dumped(call, template), call, template, self._release)
        crosscheck.require(repaired.definition, call, repaired.evidence, self._predicted)
        tags = config_tags(const_axes(repaired.definition), self._config)
        definition = with_tags(repaired.definition, tags)
        named = definition_name(repaired.evidence.template, const_axes(definition))
        if failed := self._errors(definition, named):
            reasons = "; ".join(dict.fromkeys(finding.message for finding in failed))
            raise Quarantine(f"check-{failed[0].check}", reasons)
        dumped = (call.definition,) if call.definition else ()
        return Candidate(definition, repaired.repairs, (source_of(call),), dumped)

    def _errors(self, definition: Draft, expected_name: str) -> list[Finding]:
        """Check once what many calls lead to."""
        text = json.dumps([definition, expected_name], sort_keys=True)
        if text not in self._failed:
            subject = Subject(definition, expected_name=expected_name)
            self._failed[text] = errors(run_checks(subject))
        return self._failed[text]

    def _dumped(self, call: KernelCall, template: Template) -> Draft:
        if call.definition is None:
            raise Quarantine("no-dump", f"FlashInfer dumped nothing for {call.op}")
        path = self._dumps / f"{call.definition}.json"
        if path.parent != self._dumps or path.is_symlink() or not path.is_file():
            raise Quarantine("dump-missing", f"{call.definition}.json is not in the dump")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise Quarantine("dump-form", f"{path.name} is not valid JSON: {error}") from None
        dumped = require_form(data, path.name)
        if f"fi_api:{template.api}" not in dumped.get("tags", []):
            raise Quarantine(
                "dump-of-another-api",
                f"{path.name} was dumped by {dumped.get('tags', [])}, and {template.api} of the "
                "same name wrote nothing",
            )
        return dumped


def unite(found: list[Candidate]) -> tuple[list[Candidate], list[Quarantined]]:
    """Return one candidate per name, and the others of a name that has several contents.

    Equal definitions unite: sources, tags and repairs are added up. Of several contents under one
    name those that a word tells apart get the word (see collisions), and of the others the first in
    the order of their text stays.
    """
    kept: list[Candidate] = []
    lost: list[Quarantined] = []
    found = told_apart(found, lambda candidate: candidate.definition, _with_definition)
    for groups in grouped(found, lambda candidate: candidate.definition):
        first, *others = (_as_one(group) for group in groups)
        kept.append(first)
        for other in others:
            how = differing(first.definition, other.definition)
            reason = f"another definition has this name; {how}"
            lost.append(Quarantined(first.name, "name-collision", reason, other.sources))
    return kept, lost


def _with_definition(candidate: Candidate, definition: Draft) -> Candidate:
    return dataclasses.replace(candidate, definition=definition)


def _as_one(group: list[Candidate]) -> Candidate:
    definition = with_all_tags([candidate.definition for candidate in group])
    repairs = dict.fromkeys(step for candidate in group for step in candidate.repairs)
    sources = united(source for candidate in group for source in candidate.sources)
    dumped = sorted({name for candidate in group for name in candidate.dumped})
    return Candidate(definition, tuple(repairs), sources, tuple(dumped))


def merged(lost: list[Quarantined]) -> list[Quarantined]:
    """Return the quarantined with the sources of one reason together, sorted."""
    together: dict[tuple[str, str, str], list[Quarantined]] = {}
    for item in lost:
        together.setdefault((item.name, item.cause, item.reason), []).append(item)
    return [
        Quarantined(*key, united(source for item in items for source in item.sources))
        for key, items in sorted(together.items())
    ]


def _not_definitions(calls: list[KernelCall]) -> list[dict[str, Any]]:
    """What was called and is no definition, one row per op, with why."""
    counts: dict[str, int] = {}
    for call in calls:
        counts[call.op] = counts.get(call.op, 0) + call.count
    return [{"op": op, "count": counts[op], "why": _why_not(op)} for op in sorted(counts)]


def _why_not(op: str) -> str:
    if not op.startswith("flashinfer."):
        return "seen beside FlashInfer; definitions of it are derived, with method auto or derive"
    if op.rsplit(".", 1)[-1] in ("plan", "begin_forward"):
        return "plans a run() and computes nothing itself"
    return "FlashInfer has no trace template for it"
