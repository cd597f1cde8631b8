"""The user's settings: config.yaml and --config values, checked against the schema and frozen."""

from __future__ import annotations

import dataclasses
import functools
import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from kerneldefs.errors import KerneldefsError, nearest
from kerneldefs.serving.yamlfile import load_yaml

ROOT = Path(__file__).resolve().parents[3]
CONFIG_FILE = ROOT / "config" / "config.yaml"
SCHEMA_FILE = ROOT / "config" / "schemas" / "config.schema.json"
EMBEDDED = "embedded"  # the `cookbook` value that means config/cookbook
AUTO_BACKEND = "auto"  # the `attention_backends` value that forces none
NUMBER_LISTS = ("tp_list", "ep_list", "page_sizes")
README = "config/README.md"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every key of config/config.yaml, in the type that the code wants; see config/README.md."""

    model: tuple[str, ...]
    hf_repo_id: str | None
    revision: str | None
    config_sources: tuple[str, ...]
    cookbook: str
    cookbook_versions: tuple[str, ...]
    hardware: tuple[str, ...]
    tp_list: tuple[int, ...]
    ep_list: tuple[int, ...]
    page_sizes: tuple[int, ...]
    attention_backends: tuple[str, ...]
    backend: str
    gpu_types: tuple[str, ...]
    load_format: str
    python: str | None
    reserve_gpus: bool
    method: str
    variants: tuple[str, ...]
    op_types: tuple[str, ...]
    execute: bool
    skip_existing: bool
    trust_remote_code: bool
    dataset: Path | None
    pull_requests: str
    requests: Path | None
    results: Path

    @staticmethod
    def from_mapping(mapping: Mapping[str, Any], where: str = "config") -> Settings:
        """Build from config.yaml's content merged with --config values; missing keys take defaults.

        Raises KerneldefsError naming the first key that is unknown or holds a wrong value.
        """
        errors = schema_errors(mapping)
        if errors:
            raise KerneldefsError(f"{where}: {errors[0]}")
        values = {key: _value(key, mapping.get(key)) for key in _properties()}
        return Settings(**values)

    @staticmethod
    def load(path: Path = CONFIG_FILE, words: Iterable[str] = ()) -> Settings:
        """Read a config file and put KEY=VALUE words over it, as `snakemake --config` does."""
        mapping = load_yaml(path)
        if mapping is None:
            mapping = {}
        if not isinstance(mapping, dict):
            raise KerneldefsError(f"{path}: must hold keys and values; see {README}")
        settings = Settings.from_mapping(mapping, str(path))
        over = parse_words(words)
        return Settings.from_mapping({**mapping, **over}, "command line") if over else settings

    def words(self) -> list[str]:
        """Return the KEY=VALUE words, quoted for a shell, that make these settings of defaults."""
        words = []
        for key, value in dataclasses.asdict(self).items():
            if value == _value(key, None):
                continue
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            typed = key in NUMBER_LISTS or isinstance(value, bool)
            if not typed and _parse_value(text) != text:
                text = f"!!str {text}"  # a name that reads as a number
            words.append(shlex.quote(f"{key}={text}"))
        return words


def parse_words(words: Iterable[str]) -> dict[str, Any]:
    """Parse KEY=VALUE words exactly as `snakemake --config` does (snakemake 9, cli.parse_config).

    Quotes around a value are stripped, so they cannot make a number a string (YAML's `!!str` can).
    The rest is the first of int, float, True/False, YAML with every scalar a string, and plain
    text that takes it; an empty one is None.
    """
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise KerneldefsError(f"'{word}' is not KEY=VALUE; write for example model=kimi-k2")
        values[key] = _parse_value(text.strip("'\""))
    return values


def _parse_value(text: str) -> Any:
    if text == "":
        return None
    for convert in (int, float, {"True": True, "False": False}.__getitem__):
        try:
            return convert(text)
        except (ValueError, KeyError):
            continue
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return text


@functools.cache
def schema() -> dict[str, Any]:
    """Return config/schemas/config.schema.json."""
    data: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return data


def _properties() -> dict[str, dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = schema()["properties"]
    return properties


def schema_errors(mapping: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each key that the schema refuses; empty for a valid mapping."""
    from jsonschema import Draft202012Validator  # 0.1 s, and only needed here

    unknown = [
        f"unknown key '{key}'{nearest(str(key), _properties())}; {README} lists every key"
        for key in mapping
        if key not in _properties()
    ]
    known = {key: mapping[key] for key in _properties() if key in mapping}
    found = Draft202012Validator(schema()).iter_errors(known)
    wrong = dict.fromkeys(str(error.path[0]) for error in found)
    return unknown + [_sentence(key, known[key]) for key in wrong]


def _sentence(key: str, value: Any) -> str:
    accepts = _properties()[key]["x-accepts"]
    if key == "revision" and isinstance(value, int | float) and not isinstance(value, bool):
        return (
            f'revision {value!r} is a number, so digits may be lost; write revision: "12e5" in '
            f"config.yaml, --config 'revision=!!str 12e5' on the command line"
        )
    return f"{key} takes {accepts}, not {value!r}; {README} explains the key"


def _value(key: str, value: Any) -> Any:
    """Turn a value that the schema accepts into the type of the Settings field."""
    prop = _properties()[key]
    if value is None:
        value = prop["default"]
    if key in ("dataset", "requests", "results"):
        return None if value is None else Path(value)
    if "enum" in prop and True in prop["enum"]:
        return value in (True, "true", "True")
    if "anyOf" not in prop:
        return value
    items = value if isinstance(value, list) else str(_whole(value)).split(",")
    convert = int if key in NUMBER_LISTS else str
    return tuple(dict.fromkeys(convert(str(_whole(item)).strip()) for item in items))


def _whole(value: Any) -> Any:
    """A float that JSON Schema takes for an integer (4.0) is one."""
    return int(value) if isinstance(value, float) else value
