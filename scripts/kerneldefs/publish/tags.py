"""Tags added to a definition file, and no other character of it changed."""

from __future__ import annotations

import json
from collections.abc import Iterable

from kerneldefs.errors import KerneldefsError

_STATUS = "status:"
_DECODER = json.JSONDecoder()
_BLANK = " \t\r\n"


def united(existing: Iterable[str], added: Iterable[str]) -> list[str]:
    """Return the tags of both, sorted, so that it does not matter which file came first.

    A file that has a status keeps it: whoever gave it knows of runs that this project has not made.
    """
    before = set(existing)
    known = any(tag.startswith(_STATUS) for tag in before)
    return sorted(before | {tag for tag in added if not (known and tag.startswith(_STATUS))})


def with_tags(text: str, added: Iterable[str]) -> str:
    """Return a definition's text with tags added; the same text where it has them all."""
    definition = json.loads(text)
    tags = united(definition.get("tags", []), added)
    if set(tags) == set(definition.get("tags", [])):
        return text
    start, end = _value_of(text, "tags")
    return f"{text[:start]}{_written(text[start:end], tags)}{text[end:]}"


def _written(old: str, tags: list[str]) -> str:
    """Write a list as the old one was written: on a line, or a line each with its indentation."""
    lines = old.split("\n")
    if len(lines) < 2:
        return json.dumps(tags, ensure_ascii=False)
    inner = lines[1][: len(lines[1]) - len(lines[1].lstrip())]
    outer = lines[-1][: len(lines[-1]) - len(lines[-1].lstrip())]
    rows = ",\n".join(f"{inner}{json.dumps(tag, ensure_ascii=False)}" for tag in tags)
    return f"[\n{rows}\n{outer}]"


def _value_of(text: str, key: str) -> tuple[int, int]:
    """Return where the value of a key of the outermost object starts and ends."""
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)  # after the colon
        _, end = _DECODER.raw_decode(text, start)
        if name == key:
            return start, end
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at
    raise KerneldefsError(f"a definition of the dataset has no {key}, so none can be added to it")


def _skip(text: str, at: int) -> int:
    while text[at] in _BLANK:
        at += 1
    return at
