from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving import yamlfile
from kerneldefs.serving.yamlfile import MAX_BYTES, load_yaml, parse_yaml

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 3)}]\n" for i in range(1, 30)
)


@given(PLAIN)
def test_plain_data_reads_back(value: object) -> None:
    assert parse_yaml(yaml.safe_dump(value), "x") == value


@given(st.text())
def test_any_text_ends_in_data_or_in_a_sentence(text: str) -> None:
    try:
        parse_yaml(text, "x")
    except KerneldefsError as error:
        assert str(error).startswith("x")
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3\n", "x:2: not valid YAML"),
        ("a: 1\na: 2\n", "x:2: key 'a' stands twice"),
        ("a:\n  b: {c: 1, c: 2}\n", "x:2: key 'c' stands twice"),
        ("? [a]\n: 1\n", "x:1: a key must be a plain word"),
        ("a: !!python/object/apply:os.system ['true']\n", "x:1: not valid YAML .*constructor"),
        ("a: 1\n---\nb: 2\n", "x:2: not valid YAML"),
        ("a: &a [*a]\n", "x:1: an alias stands inside"),
        ("a: *b\n", "x:1: not valid YAML"),
        (BOMB, "values once aliases are expanded"),
        ("a: &a 1\nb: [" + "*a, " * 101 + "]\n", "x:2: more than 100 aliases"),
        ("[" * 41 + "]" * 41, "x:1: nested too deeply"),
        ("[" * 100_000, "x:1: nested too deeply"),
        ("a: " + "9" * 5000, "x: not valid YAML .*digits"),
        ("a: 2024-99-99", "x: not valid YAML"),
        ("a: \x07", "x: not valid YAML"),
    ],
)
def test_hostile_or_broken_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(KerneldefsError, match=message):
        parse_yaml(text, "x")


@pytest.mark.parametrize("loader", [yaml.SafeLoader])
def test_the_slow_parser_refuses_a_bomb_too(
    monkeypatch: pytest.MonkeyPatch, loader: object
) -> None:
    monkeypatch.setattr(yamlfile, "_LOADER", loader)
    assert parse_yaml("a: [1, {b: c}]", "x") == {"a": [1, {"b": "c"}]}
    with pytest.raises(KerneldefsError, match="aliases"):
        parse_yaml(BOMB, "x")


def test_a_few_aliases_are_fine() -> None:
    assert parse_yaml("a: &a [1]\nb: *a\nc: *a\n", "x") == {"a": [1], "b": [1], "c": [1]}


def test_an_empty_file_is_nothing() -> None:
    assert parse_yaml("# only a comment\n", "x") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: " + b"x" * MAX_BYTES, "larger than"),
        (b"a: \xff\n", "not UTF-8 at byte 3"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    with pytest.raises(KerneldefsError, match=rf"f\.yaml: {message}"):
        load_yaml(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(KerneldefsError, match="no such file"):
        load_yaml(tmp_path / "none.yaml")
    with pytest.raises(KerneldefsError, match="cannot be read"):
        load_yaml(tmp_path)
