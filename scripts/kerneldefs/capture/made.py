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
_HIDDEN, _INTERMEDIATE, _EXPERTS, _TOP_K = 512, 256, 16, 2
_CONST_SIZES = {
    "K": 6144,
    "M": 8,
    "N": 256,
    "gemm1_out_size": 2 * _INTERMEDIATE,
    "head_dim": 128,
    "head_dim_qk": 576,
    "hidden_size": _HIDDEN,
    "input_global_scale_size": 1,
    "input_width": _HIDDEN // 2,
    "intermediate_size": _INTERMEDIATE,
    "kv_cache_dim": 2,
    "kv_lora_rank": 512,
    "kv_pad_dim": 1,
    "max_pages_per_seq": 2,
    "num_experts": _EXPERTS,
    "num_fp4_hidden_blocks": _HIDDEN // 16,
    "num_fp4_intermediate_blocks": _INTERMEDIATE // 16,
    "num_gemm1_out_blocks": 2 * _INTERMEDIATE // 128,
    "num_heads": 8,
    "num_heads_kv": 2,
    "num_heads_qo": 8,
    "num_hidden_blocks": _HIDDEN // 128,
    "num_intermediate_blocks": _INTERMEDIATE // 128,
    "num_kv_heads": 2,
    "num_local_experts": _EXPERTS,
    "num_weight_rows": _EXPERTS + 1,
    "num_mxint4_hidden_blocks": _HIDDEN // 32,
    "num_mxint4_intermediate_blocks": _INTERMEDIATE // 32,
    "num_packed_hidden": _HIDDEN // 2,
    "num_packed_intermediate": _INTERMEDIATE // 2,
    "num_pages_per_seq": 2,
    "one": 1,
    "page_size": 16,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "q_len_per_request": 1,
    "top_k": _TOP_K,
    "topk": _TOP_K,
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
    "local_num_experts": _EXPERTS,
    "max_seq_len": 32,
    "max_sequence_kv": 32,
    "max_token_per_sequence": 8,
    "return_lse": True,
    "routed_scaling_factor": 1.0,
    "routing_method_type": 1,  # RoutingMethodType.Renormalize
    "scale": 0.125,
    "softmax_scale": 0.125,
}


def _empty(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


_BF16, _I32, _E4M3 = torch.bfloat16, torch.int32, torch.float8_e4m3fn
_TOKENS, _ROWS = VAR_SIZES["seq_len"], VAR_SIZES["batch_size"]
_FP4_MOE = {"hidden_states_scale": _empty(torch.float8_e4m3fn, _TOKENS, _HIDDEN // 16)}
_GROUPS = {"n_group": 4, "topk_group": 2, "routing_bias": _empty(_BF16, _EXPERTS)}
_MLA = {"query": _empty(_BF16, _ROWS, 1, 128, 576), "kv_cache": _empty(_BF16, 8, 1, 1, 576)}
_TOP_K_ROWS = {"top_k": _empty(_I32, _ROWS)}
_LINEAR = 2  # SfLayout.layout_linear (flashinfer/tllm_enums.py, 0.6.18): scales in rows
_PLAIN_GATES = {"use_qk_l2norm": False}
# Prefix -> arguments that replace those of `init` or of the declaration: of the calls that an API
# takes, one that the template's reference is about.
PASSED: dict[str, dict[str, Any]] = {
    "append_paged_kv_cache": {
        "paged_kv_cache": (_empty(_BF16, 8, 16, 2, 128), _empty(_BF16, 8, 16, 2, 128))
    },
    "append_paged_mla_kv_cache": {
        "append_ckv": _empty(_BF16, 4, 512),
        "append_kpe": _empty(_BF16, 4, 64),
        "ckv_cache": _empty(_BF16, 8, 16, 512),
        "kpe_cache": _empty(_BF16, 8, 16, 64),
    },
    "b12x_fused_moe": {"fc2_input_scale": _empty(torch.float32, 1)},
    "b12x_moe_wrapper": {"fc2_input_scale": _empty(torch.float32, 1)},
    "bmm_fp8": {"dtype": _BF16},
    "bmm_mxfp8": {
        "A": _empty(_E4M3, 4, 8, 512),
        "B": _empty(_E4M3, 4, 512, 256),
        "A_scale": _empty(torch.uint8, 4 * 128 * 16),
        "B_scale": _empty(torch.uint8, 4 * 256 * 16),
        "dtype": _BF16,
    },
    "cudnn_batch_prefill": {"block_tables": _empty(_I32, _ROWS, 2)},
    "fp4_quantize": {"is_sf_swizzled_layout": False},
    "mxfp4_quantize": {"sfLayout": _LINEAR},
    "mxfp8_quantize": {"is_sf_swizzled_layout": False},
    "nvfp4_quantize": {"sfLayout": _LINEAR},
    "silu_and_mul_nvfp4_quantize": {"is_sf_swizzled_layout": False},
    "silu_and_mul_scaled_nvfp4_experts_quantize": {
        "a": _empty(_BF16, 4, 8, 2 * _HIDDEN),
        "mask": _empty(_I32, 4),
        "a_global_sf": _empty(torch.float32, 4),
    },
    "fmha_v2_prefill_sm120": {"scale_bmm1_d": None, "scale_bmm2_d": None},
    "gdn_decode": _PLAIN_GATES,
    "gdn_mtp": _PLAIN_GATES,
    "gemm_fp4": {
        "a": _empty(torch.uint8, 8, 256),
        "b": _empty(torch.uint8, 256, 256),
        "a_descale": _empty(torch.uint8, 128, 32),
        "b_descale": _empty(torch.uint8, 32, 256),
        "alpha": _empty(torch.float32, 1),
        "block_size": 16,
    },
    "grouped_gemm_nt_masked": {
        "lhs": (_empty(torch.uint8, 8, 256, 4), _empty(_E4M3, 32, 4, 1, 4, 8, 4)),
        "rhs": (_empty(torch.uint8, 256, 256, 4), _empty(_E4M3, 32, 4, 2, 4, 8, 4)),
        "out": _empty(_BF16, 8, 256, 4),
        "masked_m": _empty(_I32, 4),
        "ab_dtype": "float4_e2m1fn",
        "sf_dtype": "float8_e4m3fn",
        "c_dtype": "bfloat16",
        "sf_vec_size": 16,
        "alpha": _empty(torch.float32, 1, 1, 4),
        "alpha_dtype": "float32",
    },
    "segment_gemm_run": {"batch_size": 4, "weight_column_major": False},
    "gemm_mxfp8": {
        "a": _empty(torch.float8_e4m3fn, 128, 512),
        "b": _empty(torch.float8_e4m3fn, 512, 256),
        "a_descale": _empty(torch.uint8, 128 * 16),
        "b_descale": _empty(torch.uint8, 256 * 16),
    },
    "min_p_sampling": {"min_p": _empty(torch.float32, _ROWS)},
    "mm_bf16_fp4_cudnn": {
        "a": _empty(_BF16, 8, 512),
        "b": _empty(torch.uint8, 256, 256),
        "b_descale": _empty(torch.float8_e4m3fn, 256, 32),
        "block_size": 16,
    },
    "mm_bf16_fp4_cute_dsl": {
        "a": _empty(_BF16, 8, 512),
        "b": _empty(_I32, 32, 512),
        "b_descale": _empty(torch.float8_e4m3fn, 32, 256),
        "block_size": 16,
    },
    "mm_bf16_fp4_cute_dsl_sm100": {
        "a": _empty(_BF16, 8, 512),
        "b": _empty(torch.uint8, 256, 256),
        "b_descale": _empty(torch.float8_e4m3fn, 32, 4, 2, 4, 8, 1),
        "block_size": 16,
    },
    "moe_fp4_block_scale_ds_routing": {**_FP4_MOE, **_GROUPS},
    "moe_fp4_block_scale_ds_shared_experts": {
        **_FP4_MOE,
        **_GROUPS,
        "num_fused_shared_experts": 1,
    },
    "moe_fp8_block_scale_ds_shared_experts": {"num_fused_shared_experts": 1},
    "top_k_mask_logits": _TOP_K_ROWS,
    "top_k_renorm_probs": _TOP_K_ROWS,
    "top_k_top_p_sampling_from_logits": {**_TOP_K_ROWS, "top_p": _empty(torch.float32, _ROWS)},
    "trtllm_bf16_moe": {"routing_method_type": 0, "weight_layout": 0},
    "trtllm_batch_decode_mla_dense": _MLA,
    "trtllm_batch_decode_mla_sparse": _MLA,
    "trtllm_fp8_per_tensor_scale_moe": {"routing_method_type": 0},
    "trtllm_mxint4_block_scale_moe": {"routing_method_type": 0},
    "trtllm_ragged_attention_deepseek": {"is_causal": True, "return_lse": False},
    "xqa_batch_decode": {"kv_layout": "HND"},
}
PASSED |= {
    f"moe_fp4_block_scale_{routing}_routing": _FP4_MOE
    for routing in ("default", "llama4", "renormalize", "renormalize_naive", "topk")
}
_NVFP4_X = {"x": _empty(torch.uint8, 4, _HIDDEN // 2), "x_sf": _empty(_E4M3, 4, _HIDDEN // 16)}
PASSED |= {
    "cute_dsl_fused_moe_nvfp4": _NVFP4_X,
    "cute_dsl_moe_wrapper": _NVFP4_X,
    "trtllm_bf16_routed_moe": {"weight_layout": 0},
    "trtllm_fp4_block_scale_routed_moe": {
        "hidden_states_scale": _empty(_E4M3, _TOKENS, _HIDDEN // 16),
        "output1_scale_scalar": _empty(torch.float32, _EXPERTS),
        "output1_scale_gate_scalar": _empty(torch.float32, _EXPERTS),
        "output2_scale_scalar": _empty(torch.float32, _EXPERTS),
    },
}
_CACHE = (_empty(_BF16, 8, 1, 2, 64), _empty(_BF16, 8, 1, 2, 64))
_HALF = tuple(tensor.half() for tensor in _CACHE)
_HEADS = {"num_qo_heads": 8, "num_kv_heads": 2, "page_size": 1}
PASSED |= {
    "batch_pod_run": {"causal_p": True, "paged_kv_cache_p": _HALF, "paged_kv_cache_d": _HALF},
    "gdn_prefill": {
        "initial_state": _empty(torch.float32, 4, 8, 128, 128),
        "output_final_state": True,
    },
    "multi_level_cascade_run": {"paged_kv_cache": _empty(_BF16, 32, 2, 1, 2, 64)},
    "pod_run": {"causal_p": True, "paged_kv_cache_d": _HALF},
    "trtllm_fmha_v2_prefill": {
        "qkv": _empty(_BF16, 4, 3, 32, 128),
        "input_layout": "PACKED_QKV",
    },
    "var_block_sparse_run": {
        "q": _empty(_BF16, 4, 8, 64),
        "k": _empty(_BF16, 2, 64, 64),
        "v": _empty(_BF16, 2, 64, 64),
    },
}
# Prefix -> plan() arguments beside those of `init`.
PLANS: dict[str, dict[str, Any]] = {
    "batch_attention_run": {
        **_HEADS,
        "qo_indptr": _empty(_I32, 2),
        "kv_indptr": _empty(_I32, 2),
        "kv_indices": _empty(_I32, 8),
        "kv_len_arr": _empty(_I32, 1),
        "head_dim_qk": 64,
        "head_dim_vo": 64,
        "causal": True,
    },
    "batch_pod_run": {},
    "block_sparse_run": {
        "indptr": _empty(_I32, 9),
        "indices": _empty(_I32, 16),
        "M": 8,
        "N": 64,
        "R": 1,
        "C": 16,
        "num_qo_heads": 4,
        "num_kv_heads": 2,
        "head_dim": 64,
    },
    "cute_dsl_batch_prefill_run": {
        "qo_indptr": _empty(_I32, 5),
        "kv_indptr": _empty(_I32, 5),
        "num_qo_heads": 8,
        "num_kv_heads": 8,
        "head_dim_qk": 128,
    },
    "multi_level_cascade_run": {
        **_HEADS,
        "qo_indptr_arr": [_empty(_I32, 2), _empty(_I32, 5)],
        "paged_kv_indptr_arr": [_empty(_I32, 2), _empty(_I32, 5)],
        "paged_kv_indices_arr": [_empty(_I32, 8), _empty(_I32, 16)],
        "paged_kv_last_page_len": [_empty(_I32, 1), _empty(_I32, 4)],
        "head_dim": 64,
    },
    "pod_run": {
        **_HEADS,
        "indptr": _empty(_I32, 2),
        "indices": _empty(_I32, 8),
        "last_page_len": _empty(_I32, 1),
        "head_dim": 64,
    },
    "var_block_sparse_run": {
        "block_mask_map": _empty(torch.bool, 2, 4, 8),
        "block_row_sz": _empty(_I32, 2, 4),
        "block_col_sz": _empty(_I32, 2, 8),
        "num_qo_heads": 4,
        "num_kv_heads": 2,
        "head_dim": 64,
    },
}
# Prefix -> what its wrapper was made with, where run() reads it.
STATE: dict[str, dict[str, Any]] = {
    name: {"num_experts": _EXPERTS, "top_k": _TOP_K}
    for name in ("b12x_moe_wrapper", "cute_dsl_moe_wrapper")
}
# Prefix -> sizes that `init` is asked for: one query a request where the reference has no mask.
INIT_SIZES: dict[str, dict[str, int]] = {
    "gdn_decode": {"seq_len": 1},
    "trtllm_batch_decode_mla_dense": {"q_len_per_request": 1},
    "trtllm_batch_decode_mla_ragged": {"batch_size_plus_1": 5},
    "trtllm_batch_decode_mla_sparse": {"q_len_per_request": 1},
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
