"""An upgrade of FlashInfer, really: two environments, named by the `python` setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Project

LLAMA = "llama-3.1-8b"
SETTINGS = f"model={LLAMA} hardware=H200 attention_backends=flashinfer"


def times(project: Project) -> dict[str, int]:
    """When each staged file was written."""
    files = project.path("definitions", LLAMA).glob("*/*.json")
    return {path.name: path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
def test_upgrade_captures_again_and_rewrites_what_changed(
    empty: Project, older_release: Path
) -> None:
    older = f"{SETTINGS} python={older_release}"
    empty.run(config=older)
    staged, written = empty.staged(LLAMA), times(empty)
    assert not empty.path("changes.json", LLAMA).exists()
    assert "Nothing to be done" in empty.run(config=older).output

    jobs = empty.run(config=SETTINGS).jobs
    assert (jobs["capture"], jobs["normalise"], jobs["stage"]) == (1, 1, 1)
    changes = empty.report(LLAMA)["changes"]
    before, after = (changes["releases"][side] for side in ("before", "after"))
    assert (before["flashinfer-python"], before["sglang"]) == (["0.6.15.post1"], ["0.5.17"])
    assert after["flashinfer-python"] != before["flashinfer-python"]
    now = empty.staged(LLAMA)
    changed = {name for name in set(staged) & set(now) if staged[name] != now[name]}
    listed = {Path(path).stem for path in [*changes["changed"], *changes["retagged"]]}
    assert listed == changed
    assert {Path(path).stem for path in changes["added"]} == set(now) - set(staged)
    assert {Path(path).stem for path in changes["removed"]} == set(staged) - set(now)
    rewritten = {name for name, when in times(empty).items() if written.get(name) != when}
    assert {Path(name).stem for name in rewritten} == changed | set(now) - set(staged)
    assert "flashinfer-python 0.6.15.post1 -> " in empty.path("report.txt", LLAMA).read_text()
    assert "Nothing to be done" in empty.run(config=SETTINGS).output
