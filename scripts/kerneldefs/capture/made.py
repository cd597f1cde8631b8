"""Arguments for a template without `init`: empty tensors of its declared shapes.

Sizes agree with each other as a real model's would: packed and block axes follow from the sizes
that they divide. Where a template leaves a dtype open, it is the one of the op's own format.
"""

from __future__ import annotations

from typing import Any

import torch

# Var axes; also what `init` functions are asked for.
VAR_SIZES = {
    "batch_size": 4,
    "kv_len": 64,
    "len_indptr": 5,
    "num_pages": 8,
    "num_tokens": 4,
    "page_size": 1,
    "qo_len": 8,
    "seq_len": 8,
    "total_kv": 64,
    "total_q": 16,
}
HIDDEN, INTERMEDIATE, EXPERTS, TOP_K = 512, 256, 16, 2
_CONST_SIZES = {
    "K": 6144,
    "M": 8,
    "N": 256,
    "gemm1_out_size": 2 * INTERMEDIATE,
    "head_dim": 128,
    "head_dim_qk": 576,
    "hidden_size": HIDDEN,
    "input_global_scale_size": 1,
    "input_width": HIDDEN // 2,
    "intermediate_size": INTERMEDIATE,
    "kv_cache_dim": 2,
    "kv_lora_rank": 512,
    "kv_pad_dim": 1,
    "max_pages_per_seq": 2,
    "num_experts": EXPERTS,
    "num_fp4_hidden_blocks": HIDDEN // 16,
    "num_fp4_intermediate_blocks": INTERMEDIATE // 16,
    "num_gemm1_out_blocks": 2 * INTERMEDIATE // 128,
    "num_heads": 8,
    "num_heads_kv": 2,
    "num_heads_qo": 8,
    "num_hidden_blocks": HIDDEN // 128,
    "num_intermediate_blocks": INTERMEDIATE // 128,
    "num_kv_heads": 2,
    "num_local_experts": EXPERTS,
    "num_weight_rows": EXPERTS + 1,
    "num_mxint4_hidden_blocks": HIDDEN // 32,
    "num_mxint4_intermediate_blocks": INTERMEDIATE // 32,
    "num_packed_hidden": HIDDEN // 2,
    "num_packed_intermediate": INTERMEDIATE // 2,
    "num_pages_per_seq": 2,
    "one": 1,
    "page_size": 16,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "q_len_per_request": 1,
    "top_k": TOP_K,
    "topk": TOP_K,
    "total_kv_len": 64,
    "total_num_pages": 8,
    "total_q_len": 16,
    "workspace_size": 1024,
}
# Scalars that are no axis: what a caller would pass to have the op do what its template says.
_SCALARS: dict[str, Any] = {
    "activation_type": 3,  # ActivationType.Swiglu (flashinfer/tllm_enums.py, 0.6.18)
    "causal": True,
    "local_expert_offset": 0,
    "local_num_experts": EXPERTS,
    "max_seq_len": 32,
    "max_sequence_kv": 32,
    "max_token_per_sequence": 8,
    "return_lse": True,
    "routed_scaling_factor": 1.0,
    "routing_method_type": 1,  # RoutingMethodType.Renormalize
    "scale": 0.125,
    "softmax_scale": 0.125,
}


_FP8, _FP4, _FLOAT = torch.float8_e4m3fn, torch.uint8, torch.float32


def made_arguments(template: Any) -> dict[str, Any]:
    """Return API parameter -> argument of every input that the template requires."""
    prefix = template.name_prefix or template.op_type
    found: dict[str, Any] = {}
    for key, slot in template.inputs.items():
        name = slot.param or key
        if slot.optional and name not in ("top_k", "routing_method_type"):
            continue
        dims = getattr(slot, "dim_names", None)
        if dims is None:
            found[name] = _scalar(name)
            continue
        shape = [_size(dim) for dim in dims]
        tensor = torch.empty(shape, dtype=_dtype(prefix, key, slot.dtype, dims), device="meta")
        if slot.tuple_idx is None:
            found[name] = tensor
        else:
            found.setdefault(name, []).append(tensor)
    for name in template.axes:  # sizes that only a scalar argument tells
        if getattr(template.axes[name], "abbrev", "") != "" and name in _CONST_SIZES:
            found.setdefault(name, _CONST_SIZES[name])
    extra = {"local_num_experts", "intermediate_size"} if "moe" in prefix else set()
    found |= {name: _scalar(name) for name in extra}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}


def _scalar(name: str) -> Any:
    return _SCALARS.get(name, _CONST_SIZES.get(name, 1.0))


def _size(dim: str) -> int:
    if dim.isdigit():
        return int(dim)
    return _CONST_SIZES.get(dim) or VAR_SIZES.get(dim, 4)


def _dtype(prefix: str, key: str, declared: str | None, dims: Any) -> torch.dtype:
    if declared is not None:
        return getattr(torch, declared)
    scale = key.endswith(("_sf", "_scale"))
    if any("packed" in dim for dim in dims) or "input_width" in dims:
        return _FP4
    if any("fp4" in dim for dim in dims):
        return _FP8
    if "fp8" in prefix and ("weights" in key or key.startswith("hidden_states")):
        return _FLOAT if scale else _FP8
    return torch.float32 if key == "routing_logits" else torch.bfloat16
