"""What the page is made of, without a browser."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dataset.make import norm
from kerneldefs.page.index import Summary, summary_of
from kerneldefs.page.matrix import rows_of, totals
from kerneldefs.page.plots import layout_of, size_panels, time_bars
from kerneldefs.page.render import report_page
from kerneldefs.page.results import read_results
from kerneldefs.page.summary import print_summary, show
from publish.make import results
from rich.console import Console

from .conftest import HOSTILE

SCRIPTS = Path(__file__).parents[3] / "scripts"


def test_every_call_has_a_status_in_every_config(folder: Path) -> None:
    rows = {row.name: row for row in rows_of(json.loads((folder / "report.json").read_text()))}
    assert rows["rmsnorm_h64"].cells == {"h200-tp8": ("captured",), "h200-tp4": ("captured",)}
    assert rows["rmsnorm_h32"].cells == {"h200-tp4": ("captured",)}
    assert rows["allreduce_h7"].statuses == ["quarantined"]
    assert rows["torch.ops.odd"].statuses == ["missing"]
    counts = totals(rows.values())
    assert (counts["captured"], counts["quarantined"], counts["missing"]) == (3, 1, 1)


def test_statuses_that_come_together_are_all_kept() -> None:
    item = {"name": "a", "op_type": "norm", "configs": ["one"], "path": "norm/a.json"}
    lost = {"name": "a", "cause": "name-collision", "reason": "r", "configs": ["one", "two"]}
    derived = {"tags": ["origin:derived"], "configs": ["one", "two"], "dumped": {"one": ["b"]}}
    report = {
        "definitions": [item, {**item, "name": "b", **derived}],
        "existing": [{**item, "name": "c", "staged": False}],
        "filtered": [],
        "quarantined": [{**lost, "sources": []}],
        "not_definitions": [{"op": "x.plan", "configs": ["one"], "count": 1, "why": ""}],
    }
    rows = {row.name: row for row in rows_of(report)}
    assert rows["a"].cells == {"one": ("captured", "quarantined"), "two": ("quarantined",)}
    assert rows["b"].cells == {"one": ("captured",), "two": ("derived",)}
    assert rows["c"].statuses == ["existing"]
    assert "x.plan" not in rows


def test_plots_show_what_varies(folder: Path) -> None:
    read = read_results(folder)
    (panel,) = size_panels(read)
    assert panel.title == "rmsnorm: hidden_size"
    assert [dot.value for dot in panel.dots] == [32, 64, 64]  # TP4 has both, TP8 the larger
    assert [label for _, label in panel.ticks] == ["TP4", "TP8"]
    bars = time_bars(read)
    assert [bar.total for bar in bars] == [4.5, 4.5]
    config: dict[str, Any] = {"tp": 8, "ep": 4, "dp": 2, "enable_dp_attention": True}
    assert layout_of(config) == "TP8 DP2 EP4"


def test_a_page_holds_nothing_that_others_wrote_as_markup(page: Path) -> None:
    text = page.read_text()
    assert HOSTILE not in text
    assert "&lt;script&gt;document.title" in text
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text


def test_the_same_results_give_the_same_page(folder: Path) -> None:
    assert report_page(read_results(folder)) == report_page(read_results(folder))


def test_what_changed_is_said_with_the_releases(page: Path) -> None:
    text = page.read_text()
    assert "1 added, 0 removed, 1 changed, 0 retagged; sglang 0.5.17 to 0.5.21." in text
    assert "axes/vocab_size/value: 1 and 2" in text


def test_a_model_without_a_report_says_why(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/dropped.json").write_text('[{"reason": "it is a diffusion model"}]')
    dropped = summary_of(tmp_path / "a")
    assert (dropped.verdict, dropped.errors) == ("dropped", ("it is a diffusion model",))
    assert summary_of(tmp_path / "b") == Summary("b", "unfinished")


@pytest.mark.parametrize("terminal", [False, True])
def test_summary_is_plain_where_nobody_looks(tmp_path: Path, terminal: bool) -> None:
    folder = results(tmp_path, norm())
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100)
    failed = Summary("bad", "failed", errors=("one [x]", "two", "three", "four"))
    print_summary([summary_of(folder), failed], console, "results")
    text = stream.getvalue()
    assert ("\x1b[" in text) == terminal
    assert "bad: one [x]" in text and "bad: and 1 more" in text and "four" not in text
    assert "Look at results/m/report.html" in text


def test_the_command_writes_beside_the_report(folder: Path, tmp_path: Path) -> None:
    words = [sys.executable, str(SCRIPTS / "page.py"), str(folder)]
    index = tmp_path / "index.html"
    for more in ([], ["--index", str(index)]):
        subprocess.run([*words, *more], check=True, capture_output=True)
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert "m/report.html" in index.read_text()


def test_a_failed_run_of_several_models_still_has_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results(tmp_path, norm())
    (tmp_path / "other/configs").mkdir(parents=True)
    show(tmp_path, ["m", "other"])
    assert "other" not in capsys.readouterr().err and not (tmp_path / "index.html").exists()
    show(tmp_path, ["m", "other"], failed=True)
    assert "unfinished" in capsys.readouterr().err
    assert "unfinished" in (tmp_path / "index.html").read_text()
