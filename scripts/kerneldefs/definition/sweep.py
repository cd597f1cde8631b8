"""What becomes of a call of every FlashInfer template: clean, or quarantined with a cause."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kerneldefs.capture.record import KernelCall, Template
from kerneldefs.definition.checks import Subject, errors, run_checks
from kerneldefs.definition.draft import Draft, Quarantine
from kerneldefs.definition.execution.gate import UNVERIFIED, VERIFIED
from kerneldefs.definition.repair import repair

CLEAN = "clean"


@dataclasses.dataclass(frozen=True)
class Swept:
    """One template: its definition, or why there is none (a cause to count by, and a sentence)."""

    api: str
    prefix: str
    has_reference: bool
    cause: str
    reason: str
    definition: Draft | None = None
    against: str = ""  # what its reference was found to agree with

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return dataclasses.asdict(self)


def sweep(
    api: str,
    prefix: str,
    has_reference: bool,
    dumped: Draft | None,
    call: KernelCall | None,
    template: Template | None,
    why_not: str,
    release: str | None,
) -> Swept:
    """Repair and check one template's call; `why_not` says why there is none."""
    if dumped is None or call is None or template is None:
        return Swept(api, prefix, has_reference, "no-call", why_not)
    try:
        definition = repair(dumped, call, template, release).definition
    except Quarantine as error:
        return Swept(api, prefix, has_reference, error.cause, error.reason)
    failed = errors(run_checks(Subject(definition)))
    if failed:
        reasons = "; ".join(dict.fromkeys(finding.message for finding in failed))
        return Swept(api, prefix, has_reference, f"check-{failed[0].check}", reasons)
    return Swept(api, prefix, has_reference, CLEAN, "", definition)


def without_collisions(rows: Iterable[Swept]) -> list[Swept]:
    """Quarantine a definition whose name an earlier row of other content has."""
    seen: dict[str, Draft] = {}
    kept = []
    for row in rows:
        if row.definition is None:
            kept.append(row)
            continue
        first = seen.setdefault(row.definition["name"], row.definition)
        if _content(first) == _content(row.definition):
            kept.append(row)
        else:
            reason = f"another template's definition is {row.definition['name']} as well"
            kept.append(
                dataclasses.replace(row, cause="name-collision", reason=reason, definition=None)
            )
    return kept


def _content(definition: Draft) -> Draft:
    return {key: value for key, value in definition.items() if key != "tags"}


def with_execution(row: Swept, kind: str, reason: str) -> Swept:
    """Quarantine a clean definition whose reference failed when it ran."""
    return dataclasses.replace(row, cause=f"execution-{kind}", reason=reason, definition=None)


def with_agreement(row: Swept, against: str) -> Swept:
    """Note what a definition's reference agreed with, "" for nothing, and tag it accordingly."""
    if not against or row.definition is None:
        return row
    tags = sorted({VERIFIED, *row.definition["tags"]} - {UNVERIFIED})
    return dataclasses.replace(row, against=against, definition={**row.definition, "tags": tags})


def as_markdown(rows: Sequence[Swept], versions: str) -> str:
    """Return the same as three tables: clean, quarantined, and without a reference."""
    judged = [row for row in rows if row.has_reference]
    clean = [row for row in judged if row.definition is not None]
    lost = [row for row in judged if row.definition is None]
    others = [row for row in rows if not row.has_reference]
    compared = sum(bool(row.against) for row in clean)
    share = 100 * len(clean) / len(judged) if judged else 0.0
    lines = [
        f"{versions}: {len(rows)} templates, {len(judged)} with a reference. Of these {len(clean)} "
        f"are clean and ran as declared ({share:.1f} %); {compared} agree with an independent "
        f"implementation as well. {len(lost)} are quarantined.",
        "",
        "## Clean",
        "",
        "| function | definition | agrees with |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {_api(r)} | `{(r.definition or {})['name']}` | {r.against} |" for r in clean]
    lines += ["", "## Quarantined", "", "| function | template | cause | why |"]
    lines += ["| --- | --- | --- | --- |"]
    lines += [f"| {_api(r)} | `{r.prefix}` | {r.cause} | {_cell(r.reason)} |" for r in lost]
    lines += ["", "## Without a reference", "", "| function | templates |", "| --- | --- |"]
    named: dict[str, list[str]] = {}
    for row in others:
        named.setdefault(_api(row), []).append(f"`{row.prefix}`")
    lines += [f"| {api} | {', '.join(prefixes)} |" for api, prefixes in named.items()]
    return "\n".join(lines) + "\n"


def _api(row: Swept) -> str:
    return f"`{row.api.removeprefix('flashinfer.')}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def as_text(rows: Sequence[Swept]) -> str:
    """Return the table: a line a template, then the counts of those that have a reference."""
    lines = [
        f"{row.cause:<24} {row.api.removeprefix('flashinfer.')} [{row.prefix}]"
        + (f": {row.reason}" if row.reason else "")
        for row in rows
    ]
    judged = [row for row in rows if row.has_reference]
    counts: Mapping[str, int] = Counter(row.cause for row in judged)
    lines.append("")
    lines += [
        f"{count:>5} {cause}" for cause, count in sorted(counts.items(), key=lambda c: (-c[1], c))
    ]
    share = 100 * counts.get(CLEAN, 0) / len(judged) if judged else 0.0
    lines.append(
        f"{len(rows)} templates, {len(judged)} with a reference: "
        f"{counts.get(CLEAN, 0)} clean ({share:.1f} %)"
    )
    return "\n".join(lines) + "\n"
