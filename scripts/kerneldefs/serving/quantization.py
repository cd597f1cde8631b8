"""What config.json and hf_quant_config.json say about how a model's weights are quantized."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

NONE = "none"

# ModelOpt's quant_algo -> the name used here; sglang.srt.configs.model_config reads the same field.
_MODELOPT = {
    "FP8": "fp8",
    "FP8_PB_WO": "fp8",
    "FP8_PER_CHANNEL_PER_TOKEN": "fp8",
    "NVFP4": "nvfp4",
    "NVFP4_AWQ": "nvfp4",
    "MXFP8": "mxfp8",
    "W4A8_AWQ": "w4afp8",
    "INT4_AWQ": "int4",
}

# A cookbook's label -> the names that mean the same.
LABELS = {
    "bf16": {NONE},
    "fp16": {NONE},
    "fp8": {"fp8"},
    "fp4": {"nvfp4", "mxfp4"},
    "nvfp4": {"nvfp4", "modelopt_mixed"},
    "mxfp4": {"mxfp4"},
    "int4": {"int4", "awq", "gptq"},
    "int8": {"int8"},
}


def quantization_of(
    parts: Iterable[dict[str, Any]], data: dict[str, Any], quant_data: dict[str, Any] | None
) -> str:
    """Return the scheme's name: "fp8", "nvfp4", "mxfp4", "awq", "gptq", "int4", ... or "none".

    `parts` are config.json and its language sub-configs, `data` config.json itself and
    `quant_data` hf_quant_config.json (ModelOpt's own file), which SGLang reads only where
    config.json says nothing.
    """
    for part in [*parts, data]:
        for key in ("quantization_config", "compression_config"):
            if isinstance(part.get(key), dict) and part[key]:
                return _scheme(part[key])
    if quant_data is not None:
        inner = quant_data.get("quantization")
        return _modelopt(inner if isinstance(inner, dict) else quant_data)
    return NONE


def names_scheme_alone(quant_data: dict[str, Any]) -> bool:
    """Whether hf_quant_config.json was cut down to the scheme, without what it leaves unquantized.

    SGLang would take every layer as quantized. ModelOpt always writes who produced the file.
    """
    inner = quant_data.get("quantization")
    said = inner if isinstance(inner, dict) else quant_data
    scope = {"exclude_modules", "ignore", "producer", "quantized_layers"}
    return _modelopt(said) != NONE and not scope & {*quant_data, *said}


def _scheme(config: dict[str, Any]) -> str:
    method = str(config.get("quant_method") or "").lower().replace("_", "-")
    if "quant_algo" in config or method.startswith("modelopt"):
        return _modelopt(config)
    if method == "compressed-tensors" or (not method and "config_groups" in config):
        return _compressed_tensors(config)
    if method in ("", "none"):
        return NONE
    return {"gptq-marlin": "gptq", "awq-marlin": "awq"}.get(method, _plain(method))


def _modelopt(config: dict[str, Any]) -> str:
    algorithm = str(config.get("quant_algo") or "").upper()
    if algorithm == "MIXED_PRECISION":
        return "modelopt_mixed"
    if not algorithm:
        return NONE
    return _MODELOPT.get(algorithm, _plain(algorithm.lower()))


def _compressed_tensors(config: dict[str, Any]) -> str:
    """Name the scheme by its weights: format, number type and bits (compressed-tensors' schema)."""
    layout = str(config.get("format") or "")
    if "mxfp4" in layout:
        return "mxfp4"
    if "nvfp4" in layout:
        return "nvfp4"
    groups = config.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict):
            kind = "fp" if str(weights.get("type")) == "float" else "int"
            return _plain(f"{kind}{weights.get('num_bits')}")
    return "compressed-tensors"


def _plain(word: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", word).strip("-") or "unknown"
