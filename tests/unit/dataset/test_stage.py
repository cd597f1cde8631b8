"""Candidates of many configs become one tree: united, pruned, never overwritten in silence."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.dataset.existing import Dataset
from kerneldefs.dataset.stage import NOTE, Selection, load_model, manifest_of, select, write_tree
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json

from .make import candidates, norm, sampling, tree, write_definition

SCRIPTS = Path(__file__).parents[3] / "scripts"


def selected(*folders: Path, **options: Any) -> Selection:
    return select(load_model(folders, "m"), **options)


def test_tags_and_configs_are_united(tmp_path: Path) -> None:
    one = candidates(tmp_path, "b", norm(64, "tp:8", "model:m"))
    other = candidates(tmp_path, "a", norm(64, "tp:1", "model:m"), norm(32))
    staged = {item.name: item for item in selected(one, other).staged}
    assert staged["rmsnorm_h64"].definition["tags"] == [
        *("model:m", "status:unverified", "tp:1", "tp:8")
    ]
    assert staged["rmsnorm_h64"].configs == ("a", "b")
    assert staged["rmsnorm_h32"].configs == ("a",)


def test_another_content_under_one_name_is_listed_whatever_the_order(tmp_path: Path) -> None:
    one = candidates(tmp_path, "a", norm(64))
    other = candidates(tmp_path, "b", {**norm(64), "constraints": ["batch_size > 1"]})
    selection = selected(one, other)
    assert selection.staged == selected(other, one).staged
    (lost,) = selection.quarantined
    assert (lost["name"], lost["cause"]) == ("rmsnorm_h64", "name-collision")
    assert " has another definition of this name; they differ in constraints" in lost["reason"]


def test_dtypes_under_one_name_are_told_apart_over_configs(tmp_path: Path) -> None:
    one = candidates(tmp_path, "a", norm(64), model="m")
    other = candidates(tmp_path, "b", norm(64, dtype="float16"))
    selection = selected(one, other)
    assert selection == selected(other, one)
    assert {item.name: item.configs for item in selection.staged} == {
        "rmsnorm_h64": ("a",),
        "rmsnorm_h64_fp16": ("b",),
    }


def test_two_names_of_one_kernel_become_one_file(tmp_path: Path) -> None:
    one = candidates(tmp_path, "a", sampling(9))
    named = {**sampling(9), "name": "top_k_top_p_sampling_from_probs_v9", "tags": ["tp:1"]}
    selection = selected(one, candidates(tmp_path, "b", named))
    (item,) = selection.staged
    assert (item.name, item.configs) == ("top_k_top_p_sampling_from_probs_v9", ("a", "b"))
    assert item.definition["tags"] == ["status:unverified", "tp:1"]
    (lost,) = selection.quarantined
    assert (lost["name"], lost["cause"]) == ("top_k_top_p_sampling_v9", "same-kernel")


def test_op_types_that_were_not_asked_for_are_listed(tmp_path: Path) -> None:
    selection = selected(candidates(tmp_path, "a", norm(), sampling()), op_types=["sampling"])
    assert [item.name for item in selection.staged] == ["top_k_top_p_sampling_v100"]
    assert [row["name"] for row in selection.filtered] == ["rmsnorm_h64"]


def test_candidates_of_another_model_are_an_error(tmp_path: Path) -> None:
    folder = candidates(tmp_path, "a", norm(), model="other")
    with pytest.raises(KerneldefsError, match="candidates of other, not of m"):
        load_model([folder], "m")


def dataset(tmp_path: Path, *definitions: dict[str, Any]) -> Dataset:
    for definition in definitions:
        write_definition(tmp_path / "dataset/definitions", definition)
    return Dataset(tmp_path / "dataset")


def test_what_the_dataset_has_is_not_staged_again(tmp_path: Path) -> None:
    found = dataset(tmp_path, {**norm(64), "description": "Other words.", "tags": []})
    folder = candidates(tmp_path, "a", norm(64), norm(32))
    selection = selected(folder, dataset=found)
    assert [item.name for item in selection.staged] == ["rmsnorm_h32"]
    (row,) = selection.existing
    assert (row["name"], row["dataset_path"]) == ("rmsnorm_h64", "rmsnorm/rmsnorm_h64.json")
    assert (row["staged"], row["differences"]) == (False, [])


def test_a_name_that_the_dataset_gives_to_something_else_is_a_conflict(tmp_path: Path) -> None:
    found = dataset(tmp_path, norm(64, dtype="float16"))
    selection = selected(candidates(tmp_path, "a", norm(64)), dataset=found)
    (lost,) = selection.quarantined
    assert (selection.staged, lost["cause"]) == ((), "dataset-conflict")
    assert 'inputs/x/dtype: "float16" and "bfloat16"' in lost["reason"]


def test_without_skipping_it_is_staged_and_the_difference_listed(tmp_path: Path) -> None:
    found = dataset(tmp_path, norm(64, dtype="float16"), norm(32))
    folder = candidates(tmp_path, "a", norm(64), norm(32))
    selection = selected(folder, dataset=found, skip_existing=False)
    assert [item.name for item in selection.staged] == ["rmsnorm_h32", "rmsnorm_h64"]
    assert [bool(row["differences"]) for row in selection.existing] == [False, True]
    assert all(row["staged"] for row in selection.existing)
    assert selection.quarantined == ()


def staged(tmp_path: Path, *definitions: dict[str, Any]) -> dict[str, int]:
    folder = candidates(tmp_path / "candidates", "a", *definitions)
    return write_tree(selected(folder), "m", tmp_path / "tree", tmp_path / "manifest.json")


def test_the_manifest_has_every_files_hash_and_size(tmp_path: Path) -> None:
    staged(tmp_path, norm(64), sampling())
    manifest = read_json(tmp_path / "manifest.json")
    files = tree(tmp_path / "tree")
    assert manifest["files"] == {
        path: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for path, data in files.items()
    }
    assert manifest["definitions"]["rmsnorm/rmsnorm_h64.json"]["configs"] == ["a"]


def test_unchanged_files_keep_their_time_and_only_stale_ones_go(tmp_path: Path) -> None:
    staged(tmp_path, norm(64), norm(32))
    kept, stale = (tmp_path / f"tree/rmsnorm/rmsnorm_h{n}.json" for n in (64, 32))
    os.utime(kept, (1, 1))
    foreign = write_definition(tmp_path / "tree", norm(5))
    assert staged(tmp_path, norm(64), norm(16)) == {"written": 1, "kept": 1, "removed": 1}
    assert kept.stat().st_mtime == 1
    assert not stale.exists()
    assert foreign.exists()


def test_stale_files_go_even_when_the_manifest_was_deleted(tmp_path: Path) -> None:
    staged(tmp_path, norm(64), norm(32))
    (tmp_path / "manifest.json").unlink()
    assert staged(tmp_path, norm(64)) == {"written": 0, "kept": 1, "removed": 1}
    assert list(read_json(tmp_path / "tree" / NOTE)["files"]) == ["rmsnorm/rmsnorm_h64.json"]


def test_an_edited_file_is_written_anew(tmp_path: Path) -> None:
    staged(tmp_path, norm(64))
    path = tmp_path / "tree/rmsnorm/rmsnorm_h64.json"
    whole = path.read_bytes()
    path.write_text("{}")
    assert staged(tmp_path, norm(64))["written"] == 1
    assert path.read_bytes() == whole


def test_a_failure_leaves_the_old_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged(tmp_path, norm(64))
    before = tree(tmp_path / "tree")
    monkeypatch.setattr("kerneldefs.dataset.stage.write_text", _fails)
    with pytest.raises(OSError, match="disk full"):
        staged(tmp_path, norm(64), norm(32))
    assert tree(tmp_path / "tree") == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tree")] == []


def _fails(path: Path, text: str) -> None:
    raise OSError("disk full")


def test_links_that_cannot_be_made_become_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged(tmp_path, norm(64))
    path = tmp_path / "tree/rmsnorm/rmsnorm_h64.json"
    os.utime(path, (1, 1))
    monkeypatch.setattr(os, "link", _fails)
    staged(tmp_path, norm(64))
    assert path.stat().st_mtime == 1


def test_the_manifest_lists_what_is_not_staged(tmp_path: Path) -> None:
    folder = candidates(tmp_path, "a", norm(), sampling())
    manifest = manifest_of("m", selected(folder, op_types=["sampling"]))
    assert [row["name"] for row in manifest["filtered"]] == ["rmsnorm_h64"]
    assert (manifest["existing"], manifest["quarantined"]) == ([], [])


def command(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(SCRIPTS / "stage.py"), *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True)


def test_the_command_stages_and_says_what_it_did(tmp_path: Path) -> None:
    write_definition(tmp_path / "dataset/definitions", norm(64))
    folders = [candidates(tmp_path / "c", c, norm(64), norm(32), sampling()) for c in ("a", "b")]
    out = ("--model", "m", "--out", tmp_path / "tree", "--manifest", tmp_path / "manifest.json")
    done = command(*folders, *out, "--dataset", tmp_path / "dataset", "--op-types", "rmsnorm")
    assert done.stderr == ""
    assert (
        "1 definitions staged (1 written, 0 unchanged, 0 removed), 1 in the dataset" in done.stdout
    )
    assert list(tree(tmp_path / "tree")) == ["rmsnorm/rmsnorm_h32.json"]
    again = command(*folders, *out, "--dataset", tmp_path / "dataset", "--no-skip-existing")
    assert "3 definitions staged (2 written, 1 unchanged, 0 removed)" in again.stdout


def test_the_command_wants_the_root_of_a_dataset(tmp_path: Path) -> None:
    folder = candidates(tmp_path, "a", norm())
    out = ("--model", "m", "--out", tmp_path / "tree", "--manifest", tmp_path / "manifest.json")
    done = command(folder, *out, "--dataset", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and "no definitions folder" in done.stderr


def test_staged_bytes_do_not_depend_on_the_folder_or_the_order(tmp_path: Path) -> None:
    trees = []
    for place, order in (("one", ("a", "b")), ("two/deeper", ("b", "a"))):
        folders = [candidates(tmp_path / place, c, norm(64, f"tp:{len(c)}")) for c in order]
        write_tree(selected(*folders), "m", tmp_path / place / "t", tmp_path / place / "m.json")
        trees.append((tree(tmp_path / place / "t"), (tmp_path / place / "m.json").read_bytes()))
    assert trees[0] == trees[1]
    assert json.loads(trees[0][1])["model"] == "m"
