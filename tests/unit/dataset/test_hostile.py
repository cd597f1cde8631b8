"""A dataset from anywhere: whatever lies in it is a finding, and nothing outside of it is read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.dataset.existing import Dataset
from kerneldefs.dataset.findings import check_tree
from kerneldefs.dataset.stage import load_model
from kerneldefs.dataset.tree import MAX_BYTES, read_entry
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json, write_json

from .make import candidates, norm, write_definition

HOSTILE = {
    "deep": '{"a":' * 100_000,
    "huge number": f'{{"name": {"9" * 5000}}}',
    "twice": '{"name": "a", "name": "b"}',
    "not UTF-8": b"\xff\xfe",
    "half a character": json.dumps(norm(64) | {"name": "\ud800"}),
    "a list": "[1, 2]",
    "a number": "3",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_odd_file_is_a_finding(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "definitions/gemm/odd.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    write_definition(tmp_path / "definitions", norm(64))
    found = {item.path: item for item in check_tree(tmp_path)}
    assert found["gemm/odd.json"].errors
    assert not found["rmsnorm/rmsnorm_h64.json"].errors
    assert Dataset(tmp_path).find({**norm(64), "name": "odd", "op_type": "gemm"}) is not None


def test_what_is_no_file_is_a_finding_and_is_not_waited_for(tmp_path: Path) -> None:
    folder = write_definition(tmp_path, norm(64)).parent
    os.mkfifo(folder / "pipe.json")
    (folder / "folder.json").mkdir()
    (folder / "circle.json").symlink_to("circle.json")
    (folder / "nothing.json").symlink_to("nowhere.json")
    found = {item.path.split("/")[1]: item for item in check_tree(tmp_path)}
    assert not found.pop("rmsnorm_h64.json").findings
    assert found.keys() == {"pipe.json", "folder.json", "circle.json", "nothing.json"}
    assert all(item.unread for item in found.values())


@pytest.mark.parametrize("name", [b"\xff.json", b"new\nline.json", b"\x1b[31m.json"])
def test_name_that_cannot_be_printed_is_a_finding(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).write_text("{}")
    (item,) = check_tree(tmp_path)
    assert item.path.isprintable() and "cannot be printed" in item.errors[0].message


def test_link_out_of_the_dataset_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(norm(64)))
    folder = tmp_path / "dataset/definitions/rmsnorm"
    folder.mkdir(parents=True)
    (folder / "rmsnorm_h64.json").symlink_to(secret)
    (item,) = check_tree(tmp_path / "dataset")
    assert item.definition == {}
    assert "a link out of the folder" in item.errors[0].message
    (folder / "inside.json").symlink_to(write_definition(tmp_path / "dataset/definitions", norm(8)))
    assert read_entry(tmp_path / "dataset/definitions", folder / "inside.json").problem is None


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "gemm/a.json"
    path.parent.mkdir()
    with path.open("wb") as stream:
        stream.truncate(10**11)  # sparse: it takes no room
    entry = read_entry(tmp_path, path)
    assert entry.problem == f"larger than {MAX_BYTES} bytes, so no definition"
    with pytest.raises(KerneldefsError, match="larger than"):
        read_json(path)


def test_candidates_that_point_elsewhere_are_an_error(tmp_path: Path) -> None:
    folder = candidates(tmp_path, "a", norm(64))
    (tmp_path / "elsewhere.json").write_text(json.dumps(norm(64)))
    index = read_json(folder / "index.json")
    (entry,) = index["definitions"].values()
    entry["path"] = "../../elsewhere.json"
    write_json(folder / "index.json", index)
    with pytest.raises(KerneldefsError, match="outside of"):
        load_model([folder], "m")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(norm(64))), JSON)
def test_no_value_in_a_dataset_breaks_the_comparison(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    folder = tmp_path_factory.mktemp("dataset") / "definitions/rmsnorm"
    folder.mkdir(parents=True)
    (folder / "rmsnorm_h64.json").write_text(json.dumps({**norm(64), key: value}))
    match = Dataset(folder.parents[1]).find(norm(64))
    assert match is not None
    check_tree(folder.parents[1])
