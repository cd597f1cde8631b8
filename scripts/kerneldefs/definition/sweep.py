"""What becomes of a call of every FlashInfer template: clean, or quarantined with a cause."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kerneldefs.capture.record import KernelCall, Template
from kerneldefs.definition.checks import Subject, errors, run_checks
from kerneldefs.definition.draft import Draft, Quarantine
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
