"""The models of a run side by side: what each came to, in numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from kerneldefs.files import read_json
from kerneldefs.page.matrix import families_of, losses_of, rows_of, totals
from kerneldefs.page.results import REPORT_FILE

INDEX_FILE = "index.html"
# Verdict -> what it means.
VERDICTS = {
    "passed": "every staged definition is clean",
    "failed": "a staged definition, or the run as a whole, has an error",
    "unfinished": "the run ended before there was a report; the logs are beside it",
    "dropped": "no serving config of it can be captured",
}


@dataclasses.dataclass(frozen=True)
class Summary:
    """One model's line. `families` has the rows of each family by status."""

    model: str
    verdict: str
    definitions: int = 0
    totals: Mapping[str, int] = dataclasses.field(default_factory=dict)
    families: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    configs: int = 0
    refused: int = 0
    errors: tuple[str, ...] = ()
    lost: tuple[tuple[str, str], ...] = ()  # (what was lost and why, the case itself)
    page: str = ""  # where its report page is, relative to the results folder; "" without one


def summary_of(folder: Path) -> Summary:
    """Return a model's line from its results folder; one without a report says why."""
    if not (folder / REPORT_FILE).is_file():
        dropped = folder / "dropped.json"
        if (folder / "configs").is_dir() or not dropped.is_file():
            return Summary(folder.name, "unfinished")
        reasons = dict.fromkeys(str(row["reason"]) for row in read_json(dropped))
        return Summary(folder.name, "dropped", errors=tuple(reasons))
    report = read_json(folder / REPORT_FILE)
    rows = rows_of(report)
    page = folder / "report.html"
    lost = [
        (f"{loss.status} {loss.cause}".strip(), f"{loss.row.name}: {loss.reason}")
        for loss in losses_of(rows)
    ]
    lost += [
        ("refused by SGLang", f"{row['config']}: {row['reason']}") for row in report["refused"]
    ]
    return Summary(
        model=str(report["model"] or folder.name),
        verdict="passed" if report["ok"] else "failed",
        definitions=len(report["definitions"]),
        totals=totals(rows),
        families={family: totals(found) for family, found in families_of(rows).items()},
        configs=len(report["configs"]),
        refused=len(report["refused"]),
        errors=tuple(f"{error['path']} {error['message']}".strip() for error in report["errors"]),
        lost=tuple(lost),
        page=f"{folder.name}/{page.name}",
    )


def family_names(summaries: Iterable[Summary]) -> list[str]:
    """Return every family that some model has, sorted."""
    return sorted({family for summary in summaries for family in summary.families})


def losses_over(summaries: Iterable[Summary]) -> list[tuple[str, dict[str, list[str]]]]:
    """Return each kind of loss with its cases by model, the kind that most models have first."""
    found: dict[str, dict[str, list[str]]] = {}
    for summary in summaries:
        for kind, case in summary.lost:
            found.setdefault(kind, {}).setdefault(summary.model, []).append(case)
    return sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0]))


def reasons_over(summaries: Iterable[Summary]) -> list[tuple[str, str, list[str]]]:
    """Return (verdict, reason, models) of what did not pass; models with one reason together."""
    found: dict[tuple[str, str], list[str]] = {}
    for summary in summaries:
        if summary.verdict != "passed":
            for reason in summary.errors or (VERDICTS[summary.verdict],):
                found.setdefault((summary.verdict, reason), []).append(summary.model)
    order = list(VERDICTS)
    ranked = sorted(found.items(), key=lambda pair: (order.index(pair[0][0]), -len(pair[1])))
    return [(verdict, reason, models) for (verdict, reason), models in ranked]
