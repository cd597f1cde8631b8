import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import (
    canonical_json,
    digest,
    read_json,
    replaced_directory,
    write_json,
    write_text,
)

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
