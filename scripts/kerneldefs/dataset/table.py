"""The report as text for a person to read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kerneldefs.dataset.changes import changes_lines
from kerneldefs.dataset.report import counted


def as_text(report: dict[str, Any]) -> str:
    """Return report.txt: the verdict first, then what is staged, then what is not and why."""
    sections = [
        _verdict(report),
        _definitions(report),
        _rows("Quarantined: not staged, because", _quarantined(report)),
        _rows("In the dataset already", _existing(report)),
        _rows("Of op_types that were not asked for", _filtered(report)),
        _rows("Called, and no definition", _not_definitions(report)),
        _rows("Refused by SGLang", (f"{r['config']}: {r['reason']}" for r in report["refused"])),
        _rows("Cookbook entries without a capture", _dropped(report)),
        _rows("Notes on serving configs", _notes(report)),
        _rows("What the captures exercised", _exercised(report)),
        _rows("Repairs that were needed, and their causes", _repairs(report)),
        _rows("Captures", _captures(report)),
        _rows("Changed by the last staging that changed something", _changes(report)),
        _rows("Left over from earlier settings, and no part of this run", report["left_over"]),
    ]
    return "\n".join(filter(None, sections))


def _verdict(report: dict[str, Any]) -> str:
    names = [report["model"]] if report["model"] else []
    counts = (
        f"{len(report['definitions'])} definitions, {len(report['errors'])} errors, "
        f"{len(report['warnings'])} warnings, {len(report['quarantined'])} quarantined"
    )
    lines = [f"{' '.join([*names, 'passed' if report['ok'] else 'FAILED'])}: {counts}"]
    for kind in ("errors", "warnings"):
        lines += [f"  {kind[:-1]}: {_found(finding)}" for finding in report[kind]]
    return "\n".join(lines) + "\n"


def _found(finding: dict[str, str]) -> str:
    where = f"{finding['path']}: " if finding["path"] else ""
    return f"{where}[{finding['check']}] {finding['message']}"


def _rows(title: str, rows: Iterable[str]) -> str:
    lines = list(rows)
    return "\n".join([title, *(f"  {line}" for line in lines)]) + "\n" if lines else ""


def _definitions(report: dict[str, Any]) -> str:
    rows = []
    for item in report["definitions"]:
        rows.append(f"{item['path']}")
        if item["configs"]:
            rows.append(f"  from     {', '.join(item['configs'])}")
        rows += _seen(item)
        rows += [f"  {how:<8} {', '.join(places)}" for how, places in item["proof"].items()]
        if item["repairs"]:
            rows.append(f"  repairs  {', '.join(item['repairs'])}")
        rows.append(f"  checks   {len(item['passed'])} of {len(report['checks'])} passed")
        rows.append(f"  tags     {' '.join(map(str, item['tags']))}")
    return _rows("Definitions", rows)


def _seen(item: dict[str, Any]) -> list[str]:
    """What was called, or where what it is derived from was seen."""
    sources = [source for found in item["sources"].values() for source in found]
    called = {f"{s['op']} ({s['phase']})" for s in sources if s["origin"] == "observed"}
    rows = [f"  called   {line}" for line in sorted(called)]
    if called:
        return rows
    others = {f"{s['origin']} for {s['layer'] or s['phase']}" for s in sources}
    words = {k: item.get(k) for k in ("variant", "class") if item.get(k)}
    note = " ".join(f"{key}:{value}" for key, value in words.items())
    return [*(f"  {line}" for line in sorted(others)), *([f"  class    {note}"] if note else [])]


def _quarantined(report: dict[str, Any]) -> Iterable[str]:
    causes = counted(row["cause"] for row in report["quarantined"])
    if causes:
        yield ", ".join(f"{cause}: {count}" for cause, count in causes.items())
    for row in report["quarantined"]:
        yield f"{row['name']} [{row['cause']}] {row['reason']} ({', '.join(row['configs'])})"


def _existing(report: dict[str, Any]) -> Iterable[str]:
    for row in report["existing"]:
        other = "" if row["dataset_name"] == row["name"] else f" as {row['dataset_name']}"
        what = "staged all the same" if row["staged"] else "not staged"
        differences = f"; differs in {'; '.join(row['differences'])}" if row["differences"] else ""
        yield f"{row['name']}{other}: {what}{differences}"


def _filtered(report: dict[str, Any]) -> Iterable[str]:
    return (f"{row['op_type']}/{row['name']}" for row in report["filtered"])


def _not_definitions(report: dict[str, Any]) -> Iterable[str]:
    return (f"{r['op']} x{r['count']}: {r['why']}" for r in report["not_definitions"])


def _dropped(report: dict[str, Any]) -> Iterable[str]:
    for row in report["dropped"]:
        entry = " ".join(filter(None, (row["cookbook"], row["hardware"], row["entry"])))
        yield f"{entry or 'the whole model'}: {row['reason']}"


def _notes(report: dict[str, Any]) -> Iterable[str]:
    for config, data in report["configs"].items():
        yield from (f"{config}: {note}" for note in data.get("notes", []))


def _exercised(report: dict[str, Any]) -> Iterable[str]:
    if not report["captures"]:
        return  # a dataset by itself
    found = report.get("exercised", {})
    for key in ("moe_routings", "sampling", "further", "page_sizes"):
        for how, names in found.get(key, {}).items():
            if names:
                yield f"{key.replace('_', ' ')}, {how}: {', '.join(map(str, names))}"
    templates = found.get("templates")
    if templates:
        count, all_of = len(templates["exercised"]), templates["registered"]
        yield f"FlashInfer {templates['release']}: {count} of {all_of} templates with an API"


def _repairs(report: dict[str, Any]) -> Iterable[str]:
    used = counted(step for item in report["definitions"] for step in item["repairs"])
    return (f"{step} x{count}: {report['repairs'].get(step, '')}" for step, count in used.items())


def _changes(report: dict[str, Any]) -> Iterable[str]:
    return changes_lines(report["changes"]) if report.get("changes") else ()


def _captures(report: dict[str, Any]) -> Iterable[str]:
    for config, data in report["captures"].items():
        versions = " ".join(f"{k} {v}" for k, v in sorted(data.get("versions", {}).items()))
        why = f" ({data['backend_reason']})" if data.get("backend_reason") else ""
        yield f"{config}: {data['status']} by {data.get('backend', 'an unnamed backend')}{why}"
        yield f"  {versions}"
        guesses = data.get("guesses") or {}
        yield from (f"  guessed: {guess} x{count}" for guess, count in sorted(guesses.items()))
        yield from (f"  warning: {warning}" for warning in data.get("warnings", []))
