"""Which linear layers of a quantized model keep their weights: what its config leaves out."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from typing import Any

NONE, SOME, ALL = "none", "some", "all"
_KEYS = ("modules_to_not_convert", "exclude_modules", "ignored_layers", "ignore")
_PLACE = re.compile(r".*\blayers\.([\d*]+)\.(.+)")
# A fused layer -> the layers that a checkpoint has in its place.
_PARTS = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "fused_qkv_a_proj_with_mqa": ("q_a_proj", "kv_a_proj_with_mqa"),
    "index_qkv_proj": ("index_q_proj", "index_k_proj"),
}


def parts_of(layer: str) -> tuple[str, ...]:
    """Return the last names that a checkpoint has for a module."""
    name = layer.rpartition(".")[2]
    return _PARTS.get(name, (name,))


def left_out(data: Mapping[str, Any], quant_data: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the modules that config.json or hf_quant_config.json leaves unquantized."""
    quant = quant_data or {}
    tables = (data.get("quantization_config"), quant, quant.get("quantization"))
    found = [table.get(key) for table in tables if isinstance(table, dict) for key in _KEYS]
    return tuple(name for names in found if isinstance(names, list) for name in map(str, names))


def share(patterns: tuple[str, ...], layer: str, layers: int) -> str:
    """Return in how many of its `layers` a module such as "self_attn.o_proj" is left out."""
    places: set[str] = set()
    for number, tail in _places(patterns):
        if _fits(tail, layer):
            places.add(number)
    if not places:
        return NONE
    return ALL if "*" in places or len(places) >= layers else SOME


def _places(patterns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        found = _PLACE.match(pattern)
        if found:
            yield found[1], found[2].rstrip(".*")


def _fits(tail: str, layer: str) -> bool:
    """Compare blocks as wholes, and modules by their last name: models name their blocks freely."""
    block = layer.partition(".")[0]
    if "." not in tail:
        return tail == block
    return any(fnmatch.fnmatch(part, tail.rpartition(".")[2]) for part in parts_of(layer))
