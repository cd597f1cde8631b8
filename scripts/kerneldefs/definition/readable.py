"""A definition as text whose lines can be compared by a person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kerneldefs.definition.draft import KEYS

_FIRST = ("name", "op_type", "description")


def readable(definition: Mapping[str, Any]) -> str:
    """Return a definition as text in which each axis is a line and the reference is code.

    What is missing is `null`, so that a file that is no complete definition can be compared too.
    """
    lines = [f"{key}: {_short(definition.get(key))}" for key in _FIRST]
    lines += [f"tags: {tag}" for tag in definition.get("tags", [])]
    for key in ("axes", "inputs", "outputs"):
        lines += [f"{key}: {name} {_short(spec)}" for name, spec in definition.get(key, {}).items()]
    lines += [f"constraint: {text}" for text in definition.get("constraints") or []]
    lines += [
        f"{key}: {len(_short(definition[key]))} characters that are no part of the dataset"
        for key in sorted(set(definition) - set(KEYS))
    ]
    return "\n".join([*lines, "", "reference:", str(definition.get("reference", ""))])


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
