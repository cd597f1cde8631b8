"""Cutting a model's config.json to its leading layers: a definition needs one layer of each kind.

How many layers that takes is decided from the built model (simulate/survey.py), never from the
keys of the config: only the list of a model's own modules says what its layers are.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from kerneldefs.errors import KerneldefsError

# One entry a layer, told apart by the letter.
_PATTERNS = ("hybrid_override_pattern",)


@dataclasses.dataclass(frozen=True)
class Cut:
    """How many of a model's hidden layers a capture keeps, counted from the first.

    `kinds` says how many of them are built differently; None where the model was not cut because
    no list of its layers was found.
    """

    kept: int
    of: int
    kinds: int | None = None


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the language part of a config.json: multimodal wrappers nest it."""
    for key in ("text_config", "language_config", "llm_config"):
        nested = config.get(key)
        if isinstance(nested, dict) and _said(nested) is not None:
            return nested
    return config


def _said(text: dict[str, Any]) -> Any:
    """The number of hidden layers: said, or as many as the list of their kinds is long."""
    count = text.get("num_hidden_layers")
    if count is None and isinstance(text.get("layers_block_type"), list):
        count = len(text["layers_block_type"])
    return count


def layer_count(config: dict[str, Any]) -> int:
    """Return the number of hidden layers; a config that says none is an error."""
    count = _said(text_config(config))
    if not isinstance(count, int) or count < 1:
        raise KerneldefsError(
            f"config.json: num_hidden_layers is {count!r}, expected a positive integer; "
            "is this a language model's config?"
        )
    return count


def keep_leading(config: dict[str, Any], kept: int) -> dict[str, Any]:
    """Return a copy of config.json that describes the leading `kept` layers.

    Per-layer lists and patterns, nested ones too, are cut to the same length.
    """
    config = copy.deepcopy(config)
    text, count = text_config(config), layer_count(config)
    _shorten(text, count, kept)
    if "num_hidden_layers" in text:
        text["num_hidden_layers"] = kept
    return config


def _shorten(part: dict[str, Any], count: int, kept: int) -> None:
    for key, value in part.items():
        if isinstance(value, dict):
            _shorten(value, count, kept)
        per_layer = isinstance(value, list) and len(value) == count
        if per_layer or (key in _PATTERNS and isinstance(value, str)):
            part[key] = value[:kept]
