"""Words that change when, and only when, a job must run again."""

from __future__ import annotations

from pathlib import Path

import pytest
from kerneldefs import digests
from kerneldefs.files import write_json


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name in digests.CODE["normalise"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.write_text("one")
        else:
            path.mkdir()
    (tmp_path / "scripts/kerneldefs/definition/table.json").write_text("{}")
    return tmp_path


def test_code_digest_changes_with_the_code_only(code: Path) -> None:
    library = code / "scripts/kerneldefs/definition"
    before = digests.code_digest("normalise", code)
    (code / "scripts/stage.py").write_text("not this stage's")
    (library / "__pycache__").mkdir()
    (library / "__pycache__/table.pyc").write_bytes(b"x")
    assert digests.code_digest("normalise", code) == before
    (library / "table.json").write_text("{ }")
    assert digests.code_digest("normalise", code) != before


def test_code_that_does_not_exist_is_a_mistake_of_ours() -> None:
    for stage, names in digests.CODE.items():
        assert all((digests.PROJECT / name).exists() for name in names)
        assert f"scripts/{stage}.py" in names


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """A model's results with one staged file."""
    path = tmp_path / "definitions/gemm/a.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    sha = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    write_json(tmp_path / "manifest.json", {"files": {"gemm/a.json": {"sha256": sha, "size": 2}}})
    (tmp_path / "staged").write_text("new")
    return tmp_path


def test_staged_state_is_what_was_written_down_while_nothing_changed(staged: Path) -> None:
    (staged / "staged").write_text("a word")
    assert digests.staged_state(staged) == "a word"
    (staged / "definitions/gemm/own.json").write_text("never staged")
    assert digests.staged_state(staged) == "a word"


@pytest.mark.parametrize("text", [None, "{ }"])
def test_each_damage_makes_a_word_of_its_own(staged: Path, text: str | None) -> None:
    words = ["new"]
    path = staged / "definitions/gemm/a.json"
    for _ in range(3):
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        words.append(digests.staged_state(staged))
        path.write_text("{}")  # what the stage job does
        (staged / "staged").write_text(words[-1])
        assert digests.staged_state(staged) == words[-1]
    assert len(set(words)) == 4


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_without_a_usable_manifest_everything_is_new(staged: Path, content: str | None) -> None:
    (staged / "manifest.json").unlink()
    if content is not None:
        (staged / "manifest.json").write_text(content)
    words = {"new", digests.staged_state(staged)}  # "new" is what was written down
    (staged / "staged").unlink()
    assert digests.staged_state(staged) == "new"
    assert len(words) == 2


def test_tree_state_follows_the_dataset(tmp_path: Path) -> None:
    assert digests.tree_state(None) == ""
    empty = digests.tree_state(tmp_path)
    (tmp_path / "definitions/gemm").mkdir(parents=True)
    (tmp_path / "definitions/gemm/a.json").write_text("{}")
    one = digests.tree_state(tmp_path)
    assert len({empty, one, ""}) == 3
    assert digests.tree_state(tmp_path) == one
