"""What a run came to, for the terminal: a table, what went wrong, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kerneldefs.files import write_text
from kerneldefs.page.index import INDEX_FILE, Summary, summary_of
from kerneldefs.page.matrix import STATUSES
from kerneldefs.page.render import index_page

_COLOURS = {
    "passed": "green",
    "failed": "bold red",
    "unfinished": "yellow",
    "dropped": "dim",
    "quarantined": "yellow",
    "missing": "red",
}
_PLAIN_WIDTH = 200  # of a line that no terminal will fold
_ERRORS_SHOWN = 3  # of each model; its report has them all


def show(
    results: Path, models: Iterable[str], failed: bool = False, published: bool = False
) -> None:
    """Print what a run came to, to stderr; a failed one gets its table over models as well.

    Without a failure a model that has no report was not asked for one. One that `published` has
    nothing more to hand on.
    """
    summaries = [summary_of(results / model) for model in models]
    if failed and len(summaries) > 1:
        write_text(results / INDEX_FILE, index_page(summaries))
    shown = [row for row in summaries if failed or row.verdict != "unfinished"]
    if shown:
        print_summary(shown, Console(stderr=True), str(results), published)


def print_summary(
    summaries: Sequence[Summary], console: Console, folder: str, published: bool = False
) -> None:
    """Print a line for each model; without colours and lines where nobody is looking.

    `folder` is the results folder, in front of what is named.
    """
    if not console.is_terminal:
        console = Console(file=console.file, width=_PLAIN_WIDTH, color_system=None)
    console.print()
    console.print(_table(summaries))
    for line in _wrong(summaries):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for line in _next(summaries, folder, published):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _table(summaries: Iterable[Summary]) -> Table:
    rows = list(summaries)
    shown = [status for status in STATUSES if any(row.totals.get(status) for row in rows)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("model", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for name in ("definitions", "configs", *shown):
        table.add_column(name, justify="right")
    for row in rows:
        counts = [row.definitions, row.configs, *(row.totals.get(status, 0) for status in shown)]
        cells = [Text(str(count) if count else "-") for count in counts]
        for cell, status in zip(cells[2:], shown, strict=True):
            cell.stylize(_COLOURS.get(status, ""))
        table.add_row(row.model, Text(row.verdict, _COLOURS[row.verdict]), *cells)
    return table


def _wrong(summaries: Iterable[Summary]) -> Iterable[str]:
    for row in summaries:
        yield from (f"{row.model}: {error}" for error in row.errors[:_ERRORS_SHOWN])
        if len(row.errors) > _ERRORS_SHOWN:
            yield f"{row.model}: and {len(row.errors) - _ERRORS_SHOWN} more"


def _next(summaries: Sequence[Summary], folder: str, published: bool) -> Iterable[str]:
    pages = [row.page for row in summaries if row.page]
    if len(pages) > 1:
        yield f"Look at {folder}/{INDEX_FILE}"
    elif pages:
        yield f"Look at {folder}/{pages[0]}"
    if not published and any(row.verdict == "passed" and row.definitions for row in summaries):
        yield "Hand on with: snakemake publish --config dataset=PATH, with the settings of this run"
