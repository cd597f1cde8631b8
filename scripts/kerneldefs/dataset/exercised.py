"""Which of FlashInfer's templates a run came across, and which modes of serving it did not.

The templates are those of the installed release's registry, read from the catalogue that deriving
uses; the modes are those that the families of kernels have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kerneldefs.capture.observe.ops import ROUTINGS
from kerneldefs.definition.evidence import api_of
from kerneldefs.derive.catalogue import Catalogue, public_name

# The longest word first: renormalize_naive is no naive.
_WORDS = "|".join(sorted(ROUTINGS.values(), key=len, reverse=True))
_ROUTING = re.compile(rf"moe_\w+?_({_WORDS})_routing_")
_PAGE_SIZE = re.compile(r"_ps(\d+)(_|$)")
# Ways to sample -> the start of the names that they lead to.
SAMPLING = {
    "top-k and top-p": "top_k_top_p_sampling",
    "top-k": "top_k_sampling",
    "top-p": "top_p_sampling",
    "min-p": "min_p_sampling",
    "temperature": "sampling_from_probs",
    "speculative": "chain_speculative_sampling",
}
# What only some ways of serving call -> the start of the names.
FURTHER = {"linear attention of several tokens (mtp)": "gdn_mtp", "merged states": "merge_state"}


def exercised(
    definitions: Iterable[Mapping[str, Any]], catalogue: Catalogue | None
) -> dict[str, Any]:
    """Return what a report's definitions exercise; `captured` means without deriving."""
    rows = [row for row in definitions if isinstance(row["name"], str)]  # else no definition
    called = {row["name"] for row in rows if row.get("class", "captured") == "captured"}
    every = {row["name"] for row in rows}
    found: dict[str, Any] = {
        "moe_routings": _split(ROUTINGS.values(), _routings(called), _routings(every)),
        "page_sizes": {
            "captured": sorted(_page_sizes(called)),
            "derived": sorted(_page_sizes(every) - _page_sizes(called)),
        },
        "sampling": _split(SAMPLING, _modes(SAMPLING, called), _modes(SAMPLING, every)),
        "further": _split(FURTHER, _modes(FURTHER, called), _modes(FURTHER, every)),
    }
    if catalogue is not None:
        found["templates"] = _templates(rows, catalogue)
    return found


def _split(every: Iterable[str], called: set[str], known: set[str]) -> dict[str, list[str]]:
    names = list(every)
    return {
        "captured": [name for name in names if name in called],
        "derived": [name for name in names if name in known - called],
        "neither": [name for name in names if name not in known | called],
    }


def _routings(names: Iterable[str]) -> set[str]:
    matches = (_ROUTING.match(name) for name in names)
    return {match[1] for match in matches if match}


def _page_sizes(names: Iterable[str]) -> set[int]:
    matches = (_PAGE_SIZE.search(name) for name in names)
    return {int(match[1]) for match in matches if match}


def _modes(modes: Mapping[str, str], names: Iterable[str]) -> set[str]:
    return {
        mode
        for mode, start in modes.items()
        if any(re.match(rf"{start}_[a-z]+\d", name) for name in names)
    }


def _templates(rows: list[Mapping[str, Any]], catalogue: Catalogue) -> dict[str, Any]:
    """Return the registered templates by what the definitions came to of each."""
    carried = [entry for entry in catalogue.entries if entry.api]
    by_api: dict[str, set[str]] = {}
    for row in rows:
        for sources in row.get("sources", {}).values():
            for source in sources:
                by_api.setdefault(api_of(source["op"]), set()).add(str(row["name"]))
    used = {}
    for entry in carried:
        names = {n for n in by_api.get(api_of(entry.api), ()) if n.startswith(entry.prefix)}
        if names:
            used[f"{public_name(entry)}: {entry.prefix}"] = sorted(names)
    return {
        "release": catalogue.release,
        "registered": len(carried),
        "with_reference": sum(entry.has_reference for entry in carried),
        "without_api": sorted(entry.prefix for entry in catalogue.entries if not entry.api),
        "exercised": dict(sorted(used.items())),
    }
