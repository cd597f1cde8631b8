"""The formats of a mixed precision, layer by layer, as ModelOpt's configs say them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kerneldefs.derive.predict.unquantized import parts_of

EXPERTS = "experts"
# ModelOpt's quant_algo -> the words of capture/observe/weights.py.
_ALGORITHMS = {"FP8": "fp8_tensor", "MXFP8": "mxfp8", "NVFP4": "nvfp4", "MXFP4": "mxfp4"}


def formats(data: Mapping[str, Any], quant_data: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the format of each linear layer by its last name, and of routed experts."""
    found: dict[str, str] = {}
    for name, said in _said(data, quant_data):
        parts = name.split(".")
        key = EXPERTS if EXPERTS in parts else parts[-1]
        algorithm = str(said.get("quant_algo")) if isinstance(said, dict) else str(said)
        found.setdefault(key, _ALGORITHMS.get(algorithm, f"other: {algorithm}"))
    return found


def _said(
    data: Mapping[str, Any], quant_data: Mapping[str, Any] | None
) -> Iterator[tuple[str, Any]]:
    quant = quant_data or {}
    for table in (quant, quant.get("quantization"), data.get("quantization_config")):
        layers = table.get("quantized_layers") if isinstance(table, dict) else None
        if isinstance(layers, dict):
            yield from sorted(layers.items())


def format_of(known: Mapping[str, str], layer: str) -> str:
    """Return the format of a layer such as "self_attn.qkv_proj"; none where nothing is said."""
    return next((known[part] for part in parts_of(layer) if part in known), "none")
