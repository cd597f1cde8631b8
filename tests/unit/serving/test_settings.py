import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.settings import (
    CONFIG_FILE,
    ROOT,
    SCHEMA_FILE,
    Settings,
    parse_words,
    schema,
    schema_errors,
)

GOOD = [
    {},
    {"model": "a,b"},
    {"model": ["a", "b/c"]},
    {"tp_list": 4},
    {"tp_list": 4.0},
    {"tp_list": "4, 8"},
    {"ep_list": ["4", 8]},
    {"page_sizes": None},
    {"skip_existing": "false"},
    {"hardware": "H200"},
    {"revision": "12e5"},
    {"cookbook_versions": "v0.5.6,0.5.10"},
    {"dataset": "some where"},
]
BAD = [
    ({"modle": "a"}, "unknown key 'modle'; nearest: model"),
    ({"model": None}, "model takes"),
    ({"model": 7}, "model takes"),
    ({"model": []}, "model takes"),
    ({"model": "a,"}, "model takes"),
    ({"model": "a: b"}, "model takes"),
    ({"tp_list": 0}, "tp_list takes positive whole numbers"),
    ({"tp_list": "4;8"}, "tp_list takes"),
    ({"tp_list": True}, "tp_list takes"),
    ({"tp_list": 4.5}, "tp_list takes"),
    ({"tp_list": 10**30}, "tp_list takes"),
    ({"page_sizes": [-1]}, "page_sizes takes"),
    ({"attention_backends": "flash infer"}, "attention_backends takes"),
    ({"backend": "gpu"}, "backend takes auto, simulate or engine"),
    ({"skip_existing": "no"}, "skip_existing takes true or false"),
    ({"trust_remote_code": 1}, "trust_remote_code takes"),
    ({"revision": 12e5}, "revision 1200000.0 is a number, .*'revision=!!str 12e5'"),
    ({"revision": 1234567}, "is a number"),
    ({"revision": True}, "revision takes a string"),
    ({"revision": "a b"}, "revision takes"),
    ({"results": None}, "results takes a directory"),
    ({"dataset": 3}, "dataset takes a directory"),
    ({"cookbook_versions": 0.5}, "cookbook_versions takes versions"),
]


def test_schema_config_readme_and_settings_are_in_step() -> None:
    properties = schema()["properties"]
    readme = (ROOT / "config" / "README.md").read_text()
    config = yaml.safe_load(CONFIG_FILE.read_text())
    fields = [field.name for field in dataclasses.fields(Settings)]
    assert list(properties) == fields
    assert sorted(config) == sorted(fields)
    headings = re.findall(r"^### `(\w+)`$", readme, re.M)
    assert sorted(headings) == sorted(fields)
    for key, prop in properties.items():
        section = readme.split(f"### `{key}`")[1].split("\n### ")[0]
        assert prop["description"] in section, key
        assert f"\nDefault: {shown(prop['default'])}\n" in section, key
        assert config[key] == prop["default"], key


def shown(default: object) -> str:
    if default in (None, []):
        return "empty"
    if isinstance(default, list):
        return f"`{', '.join(default)}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def test_every_key_says_what_it_takes() -> None:
    for key, prop in schema()["properties"].items():
        assert prop["x-accepts"] and prop["description"].endswith("."), key


def test_defaults_are_those_of_the_config_file() -> None:
    assert Settings.from_mapping({}) == Settings.load()
    assert Settings.load().words() == []


def test_lists_are_tuples_without_repeats() -> None:
    settings = Settings.from_mapping({"tp_list": "8, 4,8", "model": [" a ", "b"], "ep_list": 2.0})
    assert settings.tp_list == (8, 4)
    assert settings.model == ("a", "b")
    assert settings.ep_list == (2,)


def test_flags_and_paths_take_their_type() -> None:
    settings = Settings.from_mapping({"skip_existing": "false", "dataset": "d", "results": "r"})
    assert settings.skip_existing is False
    assert (settings.dataset, settings.results) == (Path("d"), Path("r"))
    assert Settings.from_mapping({"trust_remote_code": "True"}).trust_remote_code is True


@pytest.mark.parametrize("mapping", GOOD)
def test_good_values_pass(mapping: dict[str, Any]) -> None:
    assert schema_errors(mapping) == []
    Settings.from_mapping(mapping)


@pytest.mark.parametrize(("mapping", "message"), BAD)
def test_bad_values_are_named(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(KerneldefsError, match=f"^here: .*{message}"):
        Settings.from_mapping(mapping, "here")


def test_snakemake_accepts_and_refuses_the_same() -> None:
    from snakemake.exceptions import WorkflowError
    from snakemake.utils import validate

    for mapping in GOOD:
        filled = dict(mapping)
        validate(filled, str(SCHEMA_FILE))
        assert Settings.from_mapping(filled) == Settings.from_mapping(mapping)
    for mapping, _ in BAD:
        with pytest.raises(WorkflowError):
            validate(dict(mapping), str(SCHEMA_FILE))


VALUES = [
    "4",
    "4,8",
    "[4,8]",
    "12e5",
    '"12e5"',
    "!!str 12e5",
    '"4',
    "",
    "True",
    "true",
    "null",
    "a: b",
    "a=b",
    "[",
    "1_0",
]


def test_words_are_parsed_as_snakemake_parses_them() -> None:
    from snakemake.cli import parse_config

    words = [f"key{i}={value}" for i, value in enumerate(VALUES)]
    assert parse_words(words) == parse_config(words)


@example("0\x1f")
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12))
def test_any_word_ends_in_settings_or_in_a_sentence(text: str) -> None:
    for key in ("model", "revision", "tp_list", "skip_existing", "hardware"):
        try:
            settings = Settings.load(words=[f"{key}={text}"])
        except KerneldefsError:
            continue
        again = Settings.load(words=[shlex.split(word)[0] for word in settings.words()])
        assert again == settings


def test_a_revision_that_looks_like_a_number_can_be_given() -> None:
    settings = Settings.load(words=["revision=!!str 12e5"])
    assert settings.revision == "12e5"
    assert settings.words() == ["'revision=!!str 12e5'"]
    with pytest.raises(KerneldefsError, match=r"^command line: revision"):
        Settings.load(words=["revision=12e5"])


def test_words_go_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("model: a\ntp_list: 4\n")
    settings = Settings.load(path, ["tp_list=8"])
    assert (settings.model, settings.tp_list) == (("a",), (8,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "must hold keys and values"),
        ("model: [\n", r"c\.yaml:2: not valid YAML"),
        ("model: a\nmodel: b\n", r"c\.yaml:2: key 'model' stands twice"),
        ("modle: a\n", r"c\.yaml: unknown key 'modle'"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(KerneldefsError, match=message):
        Settings.load(path, ["tp_list=8"])


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("# nothing\n")
    assert Settings.load(path) == Settings.load()


def test_a_word_without_a_value_is_named() -> None:
    with pytest.raises(KerneldefsError, match="'kimi-k2' is not KEY=VALUE"):
        parse_words(["kimi-k2"])
