"""Cutting a model to its distinct layers: a definition needs one layer of each kind, not sixty-one.

Layers that differ (dense or MoE, full or linear attention, Mamba or MLP) are told apart by the
config's own per-layer lists and intervals. What was cut is written to capture.json.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from kerneldefs.errors import KerneldefsError


@dataclasses.dataclass(frozen=True)
class Cut:
    """How many of a model's hidden layers a capture keeps, counted from the first."""

    kept: int
    of: int


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the language part of a config.json: multimodal wrappers nest it."""
    for key in ("text_config", "language_config", "llm_config"):
        if isinstance(config.get(key), dict) and "num_hidden_layers" in config[key]:
            nested: dict[str, Any] = config[key]
            return nested
    return config


def _last_first_seen(kinds: Any) -> int:
    """Return how many leading items it takes to see each distinct one."""
    first: dict[Any, int] = {kind: i for i, kind in reversed(list(enumerate(kinds)))}
    return max(first.values()) + 1


def _needed(text: dict[str, Any]) -> int:
    """Return how many leading layers hold one of each kind."""
    needed = 1
    if text.get("first_k_dense_replace"):  # so many dense layers, then MoE
        needed = max(needed, text["first_k_dense_replace"] + 1)
    for key in ("full_attention_interval", "decoder_sparse_step", "moe_layer_freq"):
        if isinstance(text.get(key), int):  # every so many layers is of the other kind
            needed = max(needed, text[key])
    for key in ("layer_types", "layers_block_type", "hybrid_override_pattern", "moe_layer_freq"):
        if isinstance(text.get(key), (list, str)) and text[key]:  # one entry a layer
            needed = max(needed, _last_first_seen(text[key]))
    return needed


def _count(text: dict[str, Any]) -> int:
    """Return the number of hidden layers: said, or as many as a list of their kinds is long."""
    count = text.get("num_hidden_layers")
    if count is None and isinstance(text.get("layers_block_type"), list):
        count = len(text["layers_block_type"])
    if not isinstance(count, int) or count < 1:
        raise KerneldefsError(
            f"config.json: num_hidden_layers is {count!r}, expected a positive integer; "
            "is this a language model's config?"
        )
    return count


def cut_layers(config: dict[str, Any]) -> tuple[dict[str, Any], Cut]:
    """Return a copy of config.json with the leading layers that hold every kind, and the cut made.

    Per-layer lists are cut to the same length. A config that says no number of layers is an error.
    """
    config = copy.deepcopy(config)
    text = text_config(config)
    count = _count(text)
    kept = min(_needed(text), count)
    for key, value in text.items():
        if isinstance(value, list) and len(value) == count:
            text[key] = value[:kept]
    pattern = text.get("hybrid_override_pattern")
    if isinstance(pattern, str):
        text["hybrid_override_pattern"] = pattern[:kept]
    if "num_hidden_layers" in text:
        text["num_hidden_layers"] = kept
    return config, Cut(kept, count)
