"""The pages as HTML: one self-contained file each, which asks nothing of any network."""

from __future__ import annotations

from pathlib import Path

from kerneldefs.dataset.changes import KINDS
from kerneldefs.page import plots
from kerneldefs.page.details import code_css, details_of
from kerneldefs.page.index import (
    VERDICTS,
    Summary,
    family_names,
    losses_over,
    reasons_over,
)
from kerneldefs.page.matrix import STATUSES, families_of, heads_of, losses_of, rows_of, totals
from kerneldefs.page.plots import layout_of, size_panels, time_bars
from kerneldefs.page.results import Results
from kerneldefs.templating import renderer

TEMPLATES = Path(__file__).with_name("templates")


def report_page(results: Results) -> str:
    """Return a model's report.html."""
    rows = rows_of(results.report)
    return _render(
        "report.html.j2",
        results=results,
        report=results.report,
        families=families_of(rows),
        totals=totals(rows),
        heads=heads_of(results.report["configs"]),
        losses=losses_of(rows),
        details=[details_of(results, row) for row in rows],
        panels=size_panels(results),
        bars=time_bars(results),
        bar_width=plots.BAR_WIDTH,
        bar_step=plots.BAR_STEP,
    )


def index_page(summaries: list[Summary]) -> str:
    """Return the index.html over the models of a run."""
    return _render(
        "index.html.j2",
        summaries=summaries,
        families=family_names(summaries),
        verdicts=VERDICTS,
        reasons=reasons_over(summaries),
        losses=losses_over(summaries),
        shown_statuses=[s for s in STATUSES if any(one.totals.get(s) for one in summaries)],
    )


def _source(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


_render = renderer(
    TEMPLATES,
    markup=True,
    statuses=STATUSES,
    change_kinds=KINDS,
    layout_of=layout_of,
    code_css=code_css,
    source=_source,
)
