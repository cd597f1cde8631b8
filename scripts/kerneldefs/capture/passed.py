"""Arguments that replace those made from a template: the calls that its reference is about.

Tensors are on the meta device: only their shapes and types count.
"""

from __future__ import annotations

from typing import Any

import torch

from kerneldefs.capture.made import EXPERTS, HIDDEN, TOP_K, VAR_SIZES


def _empty(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


_BF16, _I32, _E4M3 = torch.bfloat16, torch.int32, torch.float8_e4m3fn
_TOKENS, _ROWS = VAR_SIZES["seq_len"], VAR_SIZES["batch_size"]
_FP4_MOE = {"hidden_states_scale": _empty(torch.float8_e4m3fn, _TOKENS, HIDDEN // 16)}
_GROUPS = {"n_group": 4, "topk_group": 2, "routing_bias": _empty(_BF16, EXPERTS)}
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
        "a": _empty(_BF16, 4, 8, 2 * HIDDEN),
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
_NVFP4_X = {"x": _empty(torch.uint8, 4, HIDDEN // 2), "x_sf": _empty(_E4M3, 4, HIDDEN // 16)}
PASSED |= {
    "cute_dsl_fused_moe_nvfp4": _NVFP4_X,
    "cute_dsl_moe_wrapper": _NVFP4_X,
    "trtllm_bf16_routed_moe": {"weight_layout": 0},
    "trtllm_fp4_block_scale_routed_moe": {
        "hidden_states_scale": _empty(_E4M3, _TOKENS, HIDDEN // 16),
        "output1_scale_scalar": _empty(torch.float32, EXPERTS),
        "output1_scale_gate_scalar": _empty(torch.float32, EXPERTS),
        "output2_scale_scalar": _empty(torch.float32, EXPERTS),
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
    name: {"num_experts": EXPERTS, "top_k": TOP_K}
    for name in ("b12x_moe_wrapper", "cute_dsl_moe_wrapper")
}
# Prefix -> sizes that `init` is asked for: one query a request where the reference has no mask.
INIT_SIZES: dict[str, dict[str, int]] = {
    "gdn_decode": {"seq_len": 1},
    "trtllm_batch_decode_mla_dense": {"q_len_per_request": 1},
    "trtllm_batch_decode_mla_ragged": {"batch_size_plus_1": 5},
    "trtllm_batch_decode_mla_sparse": {"q_len_per_request": 1},
}
