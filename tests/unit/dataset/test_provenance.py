"""What a manifest says that a tree was made from and with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from kerneldefs.dataset import provenance
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import write_json

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cookbook(folder: Path, text: str = "a: 1\n") -> Path:
    (folder / "v1").mkdir(parents=True)
    (folder / "v1/x.yaml").write_text(text)
    return folder


def test_cookbook_is_told_by_commit_and_content(tmp_path: Path) -> None:
    one = cookbook(tmp_path / "one")
    source = f"git+https://host/book@{COMMIT}"
    about = provenance.made_by(source, one)["cookbook"]
    assert (about["source"], about["commit"]) == ("https://host/book", COMMIT)
    same = provenance.made_by(str(tmp_path / "two"), cookbook(tmp_path / "two"))["cookbook"]
    assert (same["source"], same["sha256"]) == ("directory", about["sha256"])
    other = provenance.made_by("embedded", cookbook(tmp_path / "three", "a: 2\n"))["cookbook"]
    assert other["sha256"] != about["sha256"]
    assert other["commit"] is None


def test_commit_of_a_clone_and_whether_it_was_changed(tmp_path: Path) -> None:
    folder = cookbook(tmp_path / "clone")
    git = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    commit = provenance.made_by(str(folder), folder)["cookbook"]["commit"]
    assert len(commit) == 40
    (folder / "v1/x.yaml").write_text("a: 3\n")
    assert provenance.made_by(str(folder), folder)["cookbook"]["commit"] == f"{commit}-dirty"


def test_captures_name_config_releases_and_arguments(tmp_path: Path) -> None:
    config = {"repo_id": "o/m", "revision": "bundled", "arch": "sm_90", "notes": ["a note"]}
    write_json(tmp_path / "configs/a.json", config)
    summary = {"status": "captured", "versions": {"torch": "2"}, "arguments": {"tp_size": 8}}
    write_json(tmp_path / "dumps/a/capture.json", summary)
    found = provenance.captures(tmp_path / "configs", tmp_path / "dumps", ["a"])
    assert found == {"a": {"repo_id": "o/m", "revision": "bundled", "arch": "sm_90"} | summary}
    with pytest.raises(KerneldefsError, match=r"b\.json: no such file"):
        provenance.captures(tmp_path / "configs", tmp_path / "dumps", ["b"])
