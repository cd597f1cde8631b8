"""What a staging says that it changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kerneldefs.dataset.changes import CHANGES_FILE, changes_lines
from kerneldefs.dataset.stage import load_model, select, write_tree
from kerneldefs.files import read_json

from .make import candidates, norm, sampling


def stage(tmp_path: Path, release: str, *definitions: dict[str, Any]) -> None:
    folder = candidates(tmp_path / "candidates", "a", *definitions)
    made = {"captures": {"a": {"versions": {"flashinfer-python": release, "torch": "2"}}}}
    selection = select(load_model([folder], "m"))
    write_tree(selection, "m", tmp_path / "tree", tmp_path / "manifest.json", made)


def found(tmp_path: Path) -> dict[str, Any]:
    data: dict[str, Any] = read_json(tmp_path / CHANGES_FILE)
    return data


def test_first_staging_changes_nothing(tmp_path: Path) -> None:
    stage(tmp_path, "1", norm(64))
    stage(tmp_path, "1", norm(64))
    assert not (tmp_path / CHANGES_FILE).exists()


def test_upgrade_that_changes_no_file_is_told(tmp_path: Path) -> None:
    stage(tmp_path, "1", norm(64))
    stage(tmp_path, "2", norm(64))
    lines = list(changes_lines(found(tmp_path)))
    assert lines == ["flashinfer-python 1 -> 2", "0 added, 0 removed, 0 changed, 0 retagged"]


def test_added_removed_changed_and_retagged_are_told_apart(tmp_path: Path) -> None:
    old = norm(64)
    stage(tmp_path, "0.6.15", old, norm(32), norm(16, "tp:1"))
    axes = {**old["axes"], "extra": {"type": "const", "value": 3}}
    other = {**old, "axes": axes, "reference": old["reference"] + "# another way\n"}
    stage(tmp_path, "0.6.18", other, norm(16, "tp:8"), sampling())
    data = found(tmp_path)
    assert data["releases"]["before"]["flashinfer-python"] == ["0.6.15"]
    assert data["releases"]["after"]["flashinfer-python"] == ["0.6.18"]
    assert data["added"] == ["sampling/top_k_top_p_sampling_v100.json"]
    assert data["removed"] == ["rmsnorm/rmsnorm_h32.json"]
    assert data["retagged"] == ["rmsnorm/rmsnorm_h16.json"]
    rows = data["changed"]["rmsnorm/rmsnorm_h64.json"]
    assert rows == ["axes/extra (added or removed)", "reference"]
    lines = list(changes_lines(data))
    assert lines[:2] == [
        "flashinfer-python 0.6.15 -> 0.6.18",
        "1 added, 1 removed, 1 changed, 1 retagged",
    ]


def test_report_of_a_change_stays_until_the_next_one(tmp_path: Path) -> None:
    stage(tmp_path, "1", norm(64))
    stage(tmp_path, "2", norm(64), norm(32))
    before = found(tmp_path)
    (tmp_path / "tree/rmsnorm/rmsnorm_h64.json").write_text("{}")  # damaged, then made again
    stage(tmp_path, "2", norm(64), norm(32))
    assert found(tmp_path) == before
    stage(tmp_path, "4", norm(64))
    assert found(tmp_path)["removed"] == ["rmsnorm/rmsnorm_h32.json"]


def test_file_that_was_damaged_before_it_changed(tmp_path: Path) -> None:
    stage(tmp_path, "1", norm(64))
    (tmp_path / "tree/rmsnorm/rmsnorm_h64.json").write_text("[")
    stage(tmp_path, "2", norm(64, dtype="float16"))
    rows = found(tmp_path)["changed"]["rmsnorm/rmsnorm_h64.json"]
    assert rows == ["the file was damaged before"]


def test_tree_with_a_broken_note_is_staged_as_if_it_were_new(tmp_path: Path) -> None:
    stage(tmp_path, "1", norm(64))
    (tmp_path / "tree/.staged").write_text(json.dumps({"files": 3}))
    stage(tmp_path, "2", norm(32))
    assert not (tmp_path / CHANGES_FILE).exists()
    assert (tmp_path / "tree/rmsnorm/rmsnorm_h32.json").exists()
