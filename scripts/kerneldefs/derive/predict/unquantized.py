"""Which linear layers of a quantized model keep their weights: what its config leaves out."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

NONE, SOME, ALL = "none", "some", "all"
_KEYS = ("modules_to_not_convert", "exclude_modules", "ignored_layers", "ignore")
_PLACE = re.compile(r".*\blayers\.(\d+|\*)(?:\*|\.(.+))")
_ASIDE = re.compile(r"(.*\.)?(mtp|visual|vision_\w+)\.")  # whose layers are no decoder's
_SHARED = ("shared_experts", "shared_expert")  # one name for what models name either way
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


def share(patterns: tuple[str, ...], layer: str, layers: Collection[int]) -> str:
    """Return in how many of its `layers` a module such as "self_attn.o_proj" is left out."""
    places = {number for number, tail in _places(patterns) if _fits(tail, layer)}
    if "*" in places:
        return ALL
    found = {int(number) for number in places} & set(layers)
    if not found:
        return NONE
    return ALL if len(found) == len(layers) else SOME


def _places(patterns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield layers and modules in them; "" for a whole layer."""
    for pattern in patterns:
        found = _PLACE.fullmatch(pattern)
        if found and not _ASIDE.match(pattern):
            yield found[1], (found[2] or "").rstrip(".*").replace(*_SHARED)


def _fits(tail: str, layer: str) -> bool:
    """Compare blocks as wholes, and modules by their last name: models name their blocks freely."""
    layer = layer.replace(*_SHARED)
    if not tail or layer.startswith(f"{tail}."):
        return True
    shared = _SHARED[1] in tail
    if "." not in tail or shared != (_SHARED[1] in layer):
        return False
    return any(fnmatch.fnmatch(part, tail.rpartition(".")[2]) for part in parts_of(layer))
