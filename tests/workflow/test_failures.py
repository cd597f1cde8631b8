"""What goes wrong ends in a sentence, and loses nothing that was made."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from .conftest import Project

COOKBOOK = "config/cookbook/data/models/generated/v0.5.21/kimi-k2.yaml"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("model=kimi-k3", "nearest: kimi-k2"),
        ("modle=kimi-k2", "unknown key 'modle'; nearest: model"),
        ("model=kimi-k2 tp_list=many", "tp_list takes"),
        ("model=kimi-k2 revision=12e5", "digits may be lost"),
        ("model=kimi-k2 backend=gpu", "backend takes auto, simulate or engine"),
        ("model=kimi-k2 ep_list=7", "no serving config is left"),
        ("model=somebody/some-model", "scripts/fetch.py"),
    ],
)
def test_bad_settings_end_in_one_sentence(empty: Project, config: str, sentence: str) -> None:
    result = empty.run("-n", config=config, ok=False)
    lines = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert sentence in lines[0]
    assert "Traceback" not in result.output


def bomb() -> str:
    """Return a YAML whose aliases stand for ten to the ninth values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, name in itertools.pairwise("abcdefghi"):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text", ["families: [", "families: 3\n", bomb()], ids=["broken", "wrong type", "bomb"]
)
def test_bad_cookbook_ends_in_one_sentence(empty: Project, text: str) -> None:
    (empty.folder / COOKBOOK).write_text(text)
    result = empty.run("-n", ok=False)
    lines = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "kimi-k2.yaml" in lines[0]
    assert "Traceback" not in result.output


def test_staged_file_with_an_error_fails_the_run_and_keeps_the_report(quick: Project) -> None:
    path = quick.path("definitions/rmsnorm/by_hand.json")
    path.write_text("{}")
    quick.path("report.json").unlink()
    result = quick.run(ok=False)
    assert "report.json: " in result.output
    assert "by_hand" in result.output
    report = quick.report()
    assert not report["ok"]
    assert "rmsnorm/by_hand.json" in {error["path"] for error in report["errors"]}
    assert "by_hand" in quick.path("report.txt").read_text()
    assert not quick.path("passed").exists()
    path.unlink()
    quick.path("report.json").unlink()
    quick.run()
    assert quick.report()["ok"]


def test_failed_capture_is_shown_and_keeps_the_others(quick: Project) -> None:
    failing = "h200-tp8-fp8-auto"
    others = {
        item["name"] for item in quick.report()["definitions"] if set(item["configs"]) - {failing}
    }
    (quick.folder / "FAIL").write_text(failing)
    for config in ("h200-tp8-fp8-auto", "h200-tp8-fp8-flashinfer"):
        shutil.rmtree(quick.path(f"dumps/{config}"))
    staged = quick.staged()
    result = quick.run(ok=False)
    assert "error: this capture fails on purpose" in result.output
    assert "logs/capture/h200-tp8-fp8-auto.log" in result.output
    assert quick.path("dumps/h200-tp8-fp8-flashinfer/capture.json").exists()
    assert not quick.path("dumps/h200-tp8-fp8-auto").exists()
    assert others <= set(quick.staged())
    (error,) = quick.report()["errors"]
    assert error["path"] == f"configs/{failing}.json"
    (quick.folder / "FAIL").write_text("")
    assert quick.run().jobs["capture"] == 1
    assert quick.staged() == staged


def test_failed_capture_fails_a_run_of_captures_alone(quick: Project) -> None:
    """Nothing validates them there, so nobody else would say it."""
    failing = quick.path("dumps/h200-tp8-fp8-auto")
    shutil.rmtree(failing)
    (quick.folder / "FAIL").write_text(failing.name)
    result = quick.run("captures", ok=False)
    assert f"error: captures failed: {failing.relative_to(quick.folder)}; mend" in result.output
    assert not failing.exists()


def test_gpus_are_declared(quick: Project) -> None:
    shutil.rmtree(quick.path("dumps/h200-tp8-fp8-auto"))
    assert "gpu=0" in quick.run("-n", "--quiet", "host").output


def test_drops_reach_the_report(quick: Project) -> None:
    quick.run(config="model=kimi-k2 ep_list=4,7 hardware=H200")
    reasons = [drop["reason"] for drop in quick.report()["dropped"]]
    assert any("7" in reason for reason in reasons)
    assert any(reason in quick.path("report.txt").read_text() for reason in reasons)


def test_results_may_be_elsewhere(quick: Project, tmp_path: Path) -> None:
    results = tmp_path / "other results"
    quick.folder.joinpath("config/config.yaml").write_text(
        (quick.folder / "config/config.yaml")
        .read_text()
        .replace("results: results", f"results: {results}")
    )
    quick.run(config="model=kimi-k2 hardware=H200")
    assert (results / "kimi-k2-instruct/report.json").exists()
