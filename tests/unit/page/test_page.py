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
from kerneldefs.page.index import Summary, losses_over, reasons_over, summary_of
from kerneldefs.page.matrix import heads_of, losses_of, rows_of, totals
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
    (loss,) = losses_of(rows.values())
    assert (loss.row.name, loss.status, loss.cause, loss.reason, loss.configs) == (
        "a", "quarantined", "name-collision", "r", ("one", "two"),
    )  # fmt: skip


def test_every_reason_of_what_is_lost_is_told(folder: Path) -> None:
    losses = losses_of(rows_of(json.loads((folder / "report.json").read_text())))
    assert [(loss.row.name, loss.status, loss.reason) for loss in losses] == [
        ("torch.ops.odd", "missing", "nobody knows"),
        ("allreduce_h7", "quarantined", "it is another operator"),
    ]


def test_what_configs_share_stands_once_over_them() -> None:
    configs = ["b200-tp8-fp8-auto", "b200-tp8-fp8-fa3", "h200-tp8-fp8-fa3", "h200-tp4"]
    heads = [[(h.text, len(h.configs)) for h in row] for row in heads_of(configs)]
    assert heads == [
        [("b200", 2), ("h200", 2)],
        [("tp8-fp8", 2), ("tp8-fp8", 1), ("", 1)],
        [("auto", 1), ("fa3", 1), ("fa3", 1), ("tp4", 1)],
    ]
    assert [one for head in heads_of(configs)[0] for one in head.configs] == configs


def test_plots_show_what_varies(folder: Path) -> None:
    read = read_results(folder)
    (panel,) = size_panels(read)
    assert panel.title == "rmsnorm: hidden_size"
    # TP4 has both, TP8 the larger
    assert [meaning for *_, meaning in panel.dots] == ["TP4: 32", "TP4: 64", "TP8: 64"]
    assert [label for _, label in panel.columns] == ["TP4", "TP8"]
    assert [label for _, label in panel.rows] == ["64", "32"]
    bars = time_bars(read)
    assert [bar.total for bar in bars] == [4.5, 4.5]
    config: dict[str, Any] = {"tp": 8, "ep": 4, "dp": 2, "enable_dp_attention": True}
    assert layout_of(config) == "TP8 DP2 EP4"


@pytest.mark.parametrize(
    ("leaders", "followers", "same"),
    [
        ((512, 2112), (4, 17), True),  # blocks of 128, the last one not full
        ((256, 1024), (512, 2048), True),  # gate and up side by side
        ((384, 96), (256, 1024), False),  # experts and their size move against each other
        ((8, 8), (256, 1024), False),  # what is the same everywhere determines nothing
        ((7168, 4096), (7168, 512), False),
    ],
)
def test_an_axis_that_another_determines_has_no_plot(
    folder: Path, leaders: tuple[int, int], followers: tuple[int, int], same: bool
) -> None:
    read = read_results(folder)
    for name, lead, follow in zip(("rmsnorm_h64", "rmsnorm_h32"), leaders, followers, strict=True):
        axes = {"lead": lead, "follow": follow}
        read.definitions[name]["axes"] = {
            axis: {"type": "const", "value": size} for axis, size in axes.items()
        }
    titles = {panel.title for panel in size_panels(read)}
    assert ("rmsnorm: follow" in titles) == (not same)
    assert ("rmsnorm: lead" in titles) == (len(set(leaders)) > 1)


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


def test_reasons_of_many_models_are_told_together(tmp_path: Path) -> None:
    lost = (("quarantined name-collision", "x: two functions"),)
    summaries = [
        Summary("a", "passed", lost=lost),
        Summary("b", "dropped", errors=("it is a diffusion model",)),
        Summary("c", "dropped", errors=("it is a diffusion model",)),
        Summary("d", "failed", errors=("one",), lost=lost),
    ]
    assert reasons_over(summaries) == [
        ("failed", "one", ["d"]),
        ("dropped", "it is a diffusion model", ["b", "c"]),
    ]
    cases = {"a": ["x: two functions"], "d": ["x: two functions"]}
    assert losses_over(summaries) == [("quarantined name-collision", cases)]


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
