"""The report of one model's run: every definition, everything that is none, and every error."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.capture.record import CAPTURE_FILE
from kerneldefs.dataset.changes import CHANGES_FILE
from kerneldefs.dataset.derived import joined_indexes, joined_lists
from kerneldefs.dataset.exercised import exercised
from kerneldefs.dataset.findings import Checked, check_manifest, check_tree
from kerneldefs.dataset.proof import proof_of
from kerneldefs.definition.candidates import INDEX_FILE, QUARANTINE_FILE
from kerneldefs.definition.checks import CHECKS, ERROR, Finding
from kerneldefs.definition.repair import OWN_TEMPLATE
from kerneldefs.definition.repairs import REPAIRS
from kerneldefs.definition.templates import RETARGETS
from kerneldefs.derive.catalogue import Catalogue, read_catalogue
from kerneldefs.files import read_json

# What a capture's summary says that a reader of the report needs.
CAPTURE_KEYS = (
    "status",
    "reason",
    "backend",
    "backend_reason",
    "hardware",
    "versions",
    "arguments",
    "attention_backend",
    "layers",
    "stubbed",
    "guesses",
    "warnings",
)


# What the manifest says of a definition's class, see dataset/classes.py.
CLASS_KEYS = (
    "class",
    "origin",
    "variant",
    "fi_supported",
    "fi_trace_template",
    "fi_trace_template_request_url",
    "sglang_routes_to_flashinfer",
)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Where a report's facts are; None for what there is not."""

    definitions: Path
    manifest: Path | None = None
    candidates: Path | None = None  # a folder with one directory per config
    configs: Path | None = None  # a folder with one JSON per config
    dumps: Path | None = None  # a folder with one capture directory per config
    dropped: Path | None = None
    only: tuple[str, ...] | None = None  # the run's configs, where folders hold more; None: all
    derived: Path | None = None  # what was derived of each config, like candidates
    templates: Path | None = None  # catalogue of FlashInfer's templates; it may not be there
    reasons: Mapping[str, str] = dataclasses.field(default_factory=dict)  # for each backend


def build(inputs: Inputs, checked: list[Checked] | None = None) -> dict[str, Any]:
    """Return the report as JSON data; `ok` is false where there is an error."""
    checked = check_tree(inputs.definitions) if checked is None else checked
    manifest = read_json(inputs.manifest) if inputs.manifest else {}
    candidates = joined_indexes(
        _per_config(inputs.candidates, INDEX_FILE), _per_config(inputs.derived, INDEX_FILE)
    )
    captures = _per_config(inputs.dumps, CAPTURE_FILE)
    quarantines = joined_lists(
        _per_config(inputs.candidates, QUARANTINE_FILE),
        _per_config(inputs.derived, QUARANTINE_FILE),
    )
    configs = _configs(inputs.configs)
    left_over = _leave(inputs.only, configs, captures, candidates, quarantines)
    report: dict[str, Any] = {
        "model": manifest.get("model"),
        "definitions": [_definition(item, manifest, candidates) for item in checked],
        "quarantined": _quarantined(quarantines, manifest),
        "existing": [
            {**row, "sources": _lists(_made(row["name"], row, candidates), "sources")}
            for row in manifest.get("existing", [])
        ],
        "filtered": manifest.get("filtered", []),
        "not_definitions": _not_definitions(candidates),
        "refused": _refused(candidates, captures),
        "dropped": read_json(inputs.dropped) if inputs.dropped else [],
        "configs": configs,
        "left_over": left_over,
        "changes": _changes(inputs.manifest),
        "captures": {
            config: _capture(summary, inputs.reasons.get(config))
            for config, summary in captures.items()
        },
        "repairs": _causes(),
        "checks": {check.id: check.sentence for check in CHECKS},
    }
    for item in report["definitions"]:
        item["proof"] = proof_of(item["tags"], item["sources"], captures, configs)
    report["exercised"] = exercised(report["definitions"], _catalogue(inputs.templates))
    found = [(item.path, finding) for item in checked for finding in item.findings]
    if inputs.manifest:
        found += check_manifest(inputs.definitions, manifest)
        found += _losses(report, candidates, captures)
    elif not checked:
        message = "there is nothing to check; give DATASET or DATASET/definitions"
        found.append((str(inputs.definitions), Finding("empty", ERROR, message)))
    report["errors"] = [_finding(*pair) for pair in found if pair[1].severity == ERROR]
    report["warnings"] = [_finding(*pair) for pair in found if pair[1].severity != ERROR]
    report["ok"] = not report["errors"]
    return report


def _capture(summary: dict[str, Any], reason: str | None) -> dict[str, Any]:
    """Return what a reader needs of a capture; only an engine's says itself why it was used."""
    why = {"backend_reason": reason} if reason else {}
    return why | {key: summary[key] for key in CAPTURE_KEYS if key in summary}


def _catalogue(path: Path | None) -> Catalogue | None:
    return read_catalogue(path) if path and path.exists() else None


def _finding(path: str, finding: Finding) -> dict[str, str]:
    return {"path": path, "check": finding.check, "message": finding.message}


def _leave(only: tuple[str, ...] | None, *found: dict[str, Any]) -> list[str]:
    """Take what is not of this run out of each mapping by config; return the configs' ids.

    Folders keep what was captured under earlier settings: it is no part of what is staged now.
    """
    if only is None:
        return []
    others = {config for mapping in found for config in mapping if config not in only}
    for mapping in found:
        for config in others & set(mapping):
            del mapping[config]
    return sorted(others)


def _changes(manifest: Path | None) -> dict[str, Any] | None:
    path = manifest.with_name(CHANGES_FILE) if manifest else None
    return read_json(path) if path and path.exists() else None


def _per_config(folder: Path | None, name: str) -> dict[str, Any]:
    """Read one file of each config's directory below a folder."""
    if folder is None or not folder.is_dir():
        return {}
    return {path.parent.name: read_json(path) for path in sorted(folder.glob(f"*/{name}"))}


def _configs(folder: Path | None) -> dict[str, Any]:
    if folder is None or not folder.is_dir():
        return {}
    return {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}


def _definition(
    item: Checked, manifest: dict[str, Any], candidates: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    brief = manifest.get("definitions", {}).get(item.path, {})
    name = item.definition.get("name")
    made = _made(name, brief, candidates)
    return {
        "path": item.path,
        "name": name,
        "op_type": item.definition.get("op_type"),
        "tags": item.definition.get("tags", []),
        "configs": brief.get("configs", []),
        **{key: brief[key] for key in CLASS_KEYS if key in brief},
        "repairs": brief.get("repairs", []),
        "sources": _lists(made, "sources"),
        "dumped": _lists(made, "dumped"),
        "findings": [dataclasses.asdict(finding) for finding in item.findings],
        "passed": [
            check.id
            for check in CHECKS
            if not item.unread and check.id not in {f.check for f in item.findings}
        ],
    }


def _made(
    name: Any, brief: dict[str, Any], candidates: dict[str, dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Return what each config's index says of the candidates of a definition, by config.

    Staging may have given it another name than a config has it under, see dataset/union.py.
    """
    names = {config: [name] for config in brief.get("configs", ())} | brief.get("candidates", {})
    made = {
        config: [index["definitions"][n] for n in names[config] if n in index["definitions"]]
        for config, index in candidates.items()
        if config in names
    }
    return {config: entries for config, entries in made.items() if entries}


def _lists(made: dict[str, list[dict[str, Any]]], key: str) -> dict[str, Any]:
    """Return one list of all candidates of a config, by config; no row where none has it."""
    return {
        config: [item for entry in entries for item in entry.get(key, ())]
        for config, entries in made.items()
        if any(key in entry for entry in entries)
    }


def _quarantined(
    quarantines: dict[str, list[dict[str, Any]]], manifest: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the quarantined of all configs; one reason for one name is one row."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for config, items in quarantines.items():
        for item in items:
            key = (item["name"], item["cause"], item["reason"])
            row = rows.setdefault(key, {**item, "configs": [], "sources": []})
            row["configs"].append(config)
            row["sources"] += [s for s in item["sources"] if s not in row["sources"]]
    for item in manifest.get("quarantined", []):
        rows[(item["name"], item["cause"], item["reason"])] = {**item, "sources": []}
    return [rows[key] for key in sorted(rows)]


def _not_definitions(candidates: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for config, index in candidates.items():
        for item in index["not_definitions"]:
            row = rows.setdefault(item["op"], {**item, "count": 0, "configs": []})
            row["count"] += item["count"]
            row["configs"].append(config)
    return [rows[op] for op in sorted(rows)]


def _refused(
    candidates: dict[str, dict[str, Any]], captures: dict[str, dict[str, Any]]
) -> list[dict[str, str]]:
    said = {config: index["capture"] for config, index in candidates.items()} | captures
    return [
        {"config": config, "reason": str(said[config].get("reason", ""))}
        for config in sorted(said)
        if said[config].get("status") == "refused"
    ]


def _losses(
    report: dict[str, Any],
    candidates: dict[str, dict[str, Any]],
    captures: dict[str, dict[str, Any]],
) -> list[tuple[str, Finding]]:
    """Return what must not be lost in silence: a config with no capture, a model with no file."""
    found = []
    for config in report["configs"]:
        missing = [
            stage
            for stage, done in (("capture", captures), ("candidates", candidates))
            if done and config not in done
        ]
        if missing:
            message = f"the config has no {' and no '.join(missing)}; run the workflow again"
            found.append((f"configs/{config}.json", Finding("config", ERROR, message)))
    for config, summary in captures.items():
        if summary.get("status") == "failed":
            message = f"the capture failed: {summary.get('reason', '')}"
            found.append((f"configs/{config}.json", Finding("capture", ERROR, message)))
    if not (report["definitions"] or report["existing"] or report["filtered"]):
        found.append(("", Finding("empty", ERROR, f"no definition was made: {_why(report)}")))
    return found


def _why(report: dict[str, Any]) -> str:
    reasons = [f"{row['config']} was refused ({row['reason']})" for row in report["refused"]]
    reasons += [f"{row['name']} was quarantined ({row['cause']})" for row in report["quarantined"]]
    if not report["configs"] and not report["captures"]:
        reasons += [f"{drop['entry'] or 'model'} dropped" for drop in report["dropped"]]
        reasons.append("there is no serving config")
    return "; ".join(dict.fromkeys(reasons)) or "the captures hold no definition"


def _causes() -> dict[str, str]:
    own = "; ".join(dict.fromkeys(row.cause for row in RETARGETS.values()))
    return {OWN_TEMPLATE: own} | {step.id: step.cause for step in REPAIRS}


def counted(values: Iterable[str]) -> dict[str, int]:
    """Return how often each value comes, sorted."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items()))
