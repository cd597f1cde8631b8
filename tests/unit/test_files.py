import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import (
    canonical_json,
    digest,
    lock,
    read_json,
    remove_abandoned,
    replaced_directory,
    write_json,
    write_text,
)

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_canonical_json_reads_back(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_digest_does_not_hang_on_key_order(value: dict[str, int]) -> None:
    turned = dict(reversed(list(value.items())))
    assert digest(turned) == digest(value)


def test_digest_tells_values_apart() -> None:
    assert digest({"a": 1}) != digest({"a": 2})


def test_canonical_json_refuses_what_json_cannot_hold() -> None:
    with pytest.raises(ValueError):
        canonical_json(float("nan"))


def test_write_makes_folders_and_leaves_no_temporary(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", {"x": 1})
    assert (tmp_path / "a" / "b.json").read_text() == '{\n  "x": 1\n}\n'
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]
    assert (tmp_path / "a" / "b.json").stat().st_mode & 0o777 == 0o644


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")  # a lone surrogate cannot be encoded
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe"])
def test_read_json_names_a_broken_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(KerneldefsError, match=r"a\.json: not valid JSON"):
        read_json(path)


def test_read_json_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(KerneldefsError, match=r"a\.json: no such file"):
        read_json(tmp_path / "a.json")


def test_replaced_directory_takes_the_place_of_the_old(tmp_path: Path) -> None:
    target = tmp_path / "d"
    for word in ("one", "two"):
        with replaced_directory(target) as work:
            (work / word).touch()
    assert [path.name for path in target.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [target]


def test_replaced_directory_keeps_the_old_on_failure(tmp_path: Path) -> None:
    target = tmp_path / "d"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RuntimeError), replaced_directory(target) as work:
        (work / "half").touch()
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


WRITER = """
import sys
from pathlib import Path
from kerneldefs.files import replaced_directory

with replaced_directory(Path(sys.argv[1])) as work:
    (work / "half").touch()
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is writing the directory `d`."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "d")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def test_next_writer_removes_what_a_killed_one_left(
    writer: subprocess.Popen[str], tmp_path: Path
) -> None:
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(list(tmp_path.iterdir())) == 1
    with replaced_directory(tmp_path / "d") as work:
        (work / "whole").touch()
    assert list(tmp_path.rglob("*")) == [tmp_path / "d", tmp_path / "d/whole"]


def test_what_another_process_is_writing_stays(
    writer: subprocess.Popen[str], tmp_path: Path
) -> None:
    with replaced_directory(tmp_path / "d"):
        pass
    assert remove_abandoned(tmp_path) == []
    writer.communicate("", timeout=30)
    assert writer.returncode == 0
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["half"]


def test_old_content_comes_back_when_the_exchange_was_cut_short(tmp_path: Path) -> None:
    """A kill between the two renames: the old directory is aside, the new one not in place."""
    retired = tmp_path / ".d.abcdefgh.old"
    (retired / "d").mkdir(parents=True)
    (retired / "d/by_hand").touch()
    (tmp_path / ".d.ijklmnop.new").mkdir()
    with pytest.raises(RuntimeError), replaced_directory(tmp_path / "d"):
        raise RuntimeError
    assert list(tmp_path.rglob("*")) == [tmp_path / "d", tmp_path / "d/by_hand"]


def test_abandoned_file_goes_with_the_next_write_and_others_stay(tmp_path: Path) -> None:
    names = (".a.json.abcdefgh.new", ".b.json.abcdefgh.new", ".a.json.new", ".snakemake_timestamp")
    for name in names:
        (tmp_path / name).touch()
    write_json(tmp_path / "a.json", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", *names[1:]}
    (tmp_path / ".c.abcdefgh.new").symlink_to(tmp_path / "a.json")
    assert [path.name for path in remove_abandoned(tmp_path)] == [".b.json.abcdefgh.new"]
    assert (tmp_path / "a.json").exists()


def test_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "results/.lock")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(KerneldefsError, match=f"process {holder.pid} on .* is writing here"):
        lock(tmp_path / "results/.lock")
    holder.kill()
    holder.communicate()
    with lock(tmp_path / "results/.lock"):
        assert f"process {os.getpid()} on" in (tmp_path / "results/.lock").read_text()


HOLDER = """
import signal, sys
from pathlib import Path
from kerneldefs.files import lock

held = lock(Path(sys.argv[1]))
print(flush=True)
signal.pause()
"""


def test_lock_in_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KerneldefsError, match="file/results: cannot be written"):
        lock(tmp_path / "file/results/.lock")
