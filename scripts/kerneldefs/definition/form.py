"""The form of a dumped JSON: what every repair takes for granted, checked once at the edge."""

from __future__ import annotations

from typing import Any

from kerneldefs.definition.draft import Draft, Quarantine


def require_form(data: Any, where: str) -> Draft:
    """Return the data as a draft; anything that FlashInfer's dumper does not write is a quarantine.

    Dumps may come from elsewhere, so no key or type is taken on trust.
    """
    problem = _problem(data)
    if problem:
        raise Quarantine("dump-form", f"{where} is no definition: {problem}")
    return dict(data)


def _problem(data: Any) -> str | None:
    if not isinstance(data, dict):
        return "not an object"
    for key in ("name", "op_type"):
        if not isinstance(data.get(key), str) or not data[key]:
            return f"no {key}"
    for key in ("description", "reference"):
        if not isinstance(data.get(key, ""), str):
            return f"{key} is no text"
    for key in ("tags", "constraints"):
        if not _texts(data.get(key, [])):
            return f"{key} is no list of texts"
    for key, entry_problem in (("axes", _axis), ("inputs", _tensor), ("outputs", _tensor)):
        if not isinstance(data.get(key), dict):
            return f"no {key}"
        for name, entry in data[key].items():
            if not isinstance(entry, dict) or not entry_problem(entry):
                return f"{key}/{name} is malformed"
    return None


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _axis(entry: dict[str, Any]) -> bool:
    value = entry.get("value")
    number = value is None or (isinstance(value, int) and not isinstance(value, bool))
    return entry.get("type") in ("const", "var") and number


def _tensor(entry: dict[str, Any]) -> bool:
    shape = entry.get("shape", "missing")
    return (shape is None or _texts(shape)) and isinstance(entry.get("dtype"), str)
