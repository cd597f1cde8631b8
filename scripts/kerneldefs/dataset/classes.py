"""The class of each definition: how it came about, and where FlashInfer and SGLang stand to it.

It is the manifest of the field's discover-models step: `existing`, `captured`, `derived` with
`fi_supported` and `fi_trace_template`, or `fi_missing`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.dataset.stage import Selection
from kerneldefs.definition.candidates import INDEX_FILE
from kerneldefs.definition.repair import OWN_TEMPLATE
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json
from kerneldefs.serving.yamlfile import load_yaml

EXISTING, CAPTURED, DERIVED, FI_MISSING = "existing", "captured", "derived", "fi_missing"
# What a definition's description says of a kernel that somebody has been asked for.
REQUESTED = "Kernel requested: {url}"


def derived_facts(folders: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Return what deriving said of each definition, by name: of what ran before a variant."""
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        for name, entry in read_json(folder / INDEX_FILE)["definitions"].items():
            if "fi_supported" not in entry:
                continue
            known = found.get(name)
            if known is None or (known["variant"] and not entry["variant"]):
                found[name] = entry
    return found


def classify(
    brief: Mapping[str, Any],
    tags: Iterable[str],
    facts: Mapping[str, Mapping[str, Any]],
    requests: Mapping[str, str],
    *,
    existing: bool = False,
) -> dict[str, Any]:
    """Return a definition's class and what belongs to it; `brief` has its name and repairs."""
    name = str(brief["name"])
    tags = set(tags)
    own = OWN_TEMPLATE in brief.get("repairs", ())
    captured = not any(tag.startswith("origin:") for tag in tags)
    known = facts.get(name, {})
    supported = any(tag.startswith("fi_api:") for tag in tags)
    if existing:
        kind = EXISTING
    elif captured:
        kind = CAPTURED
    else:
        kind = DERIVED if supported else FI_MISSING
    return {
        "class": kind,
        "origin": next((t[7:] for t in sorted(tags) if t.startswith("origin:")), "observed"),
        "variant": next((t[8:] for t in sorted(tags) if t.startswith("variant:")), None),
        "fi_supported": supported,
        "fi_trace_template": not own if captured else bool(known.get("fi_trace_template")),
        "sglang_routes_to_flashinfer": captured or bool(known.get("routed")),
        "fi_trace_template_request_url": requests.get(name),
    }


def classified(
    selection: Selection,
    facts: Mapping[str, Mapping[str, Any]],
    requests: Mapping[str, str],
) -> Selection:
    """Return a selection in which every definition has its class, and its request's link."""
    staged = tuple(
        dataclasses.replace(
            item,
            definition=with_request(item.definition, requests),
            about=classify(item.brief(), item.definition["tags"], facts, requests),
        )
        for item in selection.staged
    )
    existing = tuple(
        {**row, **classify(row, row.get("tags", ()), facts, requests, existing=True)}
        for row in selection.existing
    )
    return dataclasses.replace(selection, staged=staged, existing=existing)


def read_requests(path: Path | None) -> dict[str, str]:
    """Return the links of kernel requests by definition name; none without a file."""
    if path is None:
        return {}
    data = load_yaml(path) or {}
    if not isinstance(data, dict) or not all(
        isinstance(key, str) and isinstance(value, str) for key, value in data.items()
    ):
        raise KerneldefsError(f"{path}: must hold definition names and links, `name: https://...`")
    return dict(data)


def with_request(definition: Mapping[str, Any], requests: Mapping[str, str]) -> dict[str, Any]:
    """Return a definition whose description carries the link of its kernel request, if any."""
    url = requests.get(str(definition["name"]))
    if url is None:
        return dict(definition)
    description = str(definition.get("description", "")).rstrip()
    return {**definition, "description": f"{description} {REQUESTED.format(url=url)}".strip()}
