"""What was captured and what was derived of one config, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def joined_indexes(
    captured: Mapping[str, dict[str, Any]], derived: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return one index per config; a definition that both have keeps the sources of both.

    Calls that deriving has read are no longer calls without a definition.
    """
    found = {config: dict(index) for config, index in captured.items()}
    for config, index in derived.items():
        known = found.get(config)
        found[config] = dict(index) if known is None else _joined(known, index)
    return found


def _joined(captured: dict[str, Any], derived: dict[str, Any]) -> dict[str, Any]:
    definitions = dict(captured["definitions"])
    for name, entry in derived["definitions"].items():
        known = definitions.get(name)
        if known is None:
            definitions[name] = entry
        else:
            definitions[name] = {**known, "sources": [*known["sources"], *entry["sources"]]}
    read = set(derived.get("read", ()))
    left = [row for row in captured["not_definitions"] if row["op"] not in read]
    return {**captured, "definitions": definitions, "not_definitions": left}


def joined_lists(*parts: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the lists of all parts, by config."""
    found: dict[str, list[Any]] = {}
    for part in parts:
        for config, items in part.items():
            found[config] = [*found.get(config, []), *items]
    return found
