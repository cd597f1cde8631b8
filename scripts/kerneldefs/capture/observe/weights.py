"""How a layer's weights are quantized, told by the layer itself and not by its config."""

from __future__ import annotations

from typing import Any

import torch

_FP8 = {torch.float8_e4m3fn, torch.float8_e5m2}
FLOATS = {torch.bfloat16, torch.float16, torch.float32}
_SCALES = ("weight_scale_inv", "weight_scale", "weight_scale_2", "input_scale", "weight_scales")


def first_tensor(layer: Any, *names: str) -> torch.Tensor | None:
    """Return the first attribute of these names that is a tensor."""
    found = (getattr(layer, name, None) for name in names)
    return next((value for value in found if isinstance(value, torch.Tensor)), None)


def block_size(method: Any) -> tuple[int, int] | None:
    """Return rows and columns of a weight that share a scale factor, of a block scheme."""
    for owner in (getattr(method, "quant_config", None), method):
        size = getattr(owner, "weight_block_size", None)
        if isinstance(size, (list, tuple)) and len(size) == 2:
            return int(size[0]), int(size[1])
    return None


def scheme_name(layer: Any, method: Any) -> str:
    """Return the class that knows the format: compressed-tensors keeps it in the layer."""
    scheme = getattr(layer, "scheme", None) or getattr(method, "scheme", None)
    return type(scheme if scheme is not None else method).__name__


def quantization(layer: Any, method: Any, weight: torch.Tensor | None) -> str:
    """Return none, fp8_block, fp8_tensor, mxfp8, nvfp4, mxfp4, or `other: {scheme}`."""
    scheme = scheme_name(layer, method)
    lowered = scheme.lower()
    if "mxfp4" in lowered:
        return "mxfp4"
    if "fp4" in lowered:
        return "nvfp4"
    if weight is None:
        return f"other: {scheme}"
    if weight.dtype in FLOATS:
        return "none"
    if weight.dtype in _FP8:
        return _fp8(layer, method)
    return f"other: {scheme}"


def _fp8(layer: Any, method: Any) -> str:
    scale = first_tensor(
        layer, "weight_scale_inv", "weight_scale", "w13_weight_scale_inv", "w13_weight_scale"
    )
    if getattr(method, "use_mxfp8", False) or (scale is not None and scale.dtype == torch.uint8):
        return "mxfp8"
    blocked = block_size(method) is not None or bool(getattr(method, "block_quant", False))
    return "fp8_block" if blocked else "fp8_tensor"


def scales(layer: Any) -> dict[str, torch.Tensor]:
    """Return a linear layer's scale factors by attribute name."""
    found = {name: getattr(layer, name, None) for name in _SCALES}
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}
