"""What definitions are compared with: a table by name and inputs of independent implementations."""

from __future__ import annotations

import re

from kerneldefs.definition.execution import (
    beside,
    drawn,
    experts,
    given,
    independent,
    planned,
    products,
    quantized,
    recurrent,
    scaled,
)
from kerneldefs.definition.execution.pairs import Definition, Row

_SORTED = "a loop over sorted rows"
_MATMUL = "torch.matmul in float64"
_SEARCH = "a search for each number's code"
_SDPA = "torch.nn.functional.scaled_dot_product_attention"
_PAGES = ("kv_indptr", "kv_indices")
_TABLES = ("block_tables", "seq_lens", "bmm1_scale", "bmm2_scale")
_TOKENS = "a loop over tokens and their experts"
_EXPERTS = (
    *("routing_logits", "hidden_states", "hidden_states_scale"),
    *("gemm1_weights", "gemm1_weights_scale", "gemm2_weights", "gemm2_weights_scale"),
    *("local_expert_offset", "routed_scaling_factor"),
)
_FACTORS = tuple(
    f"output{n}_scale{plural}{of}_scalar"
    for n in "12"
    for plural in ("", "s")
    for of in ("", "_gate")
)
_BEYOND = ("gemm1_bias", "gemm1_alpha", "gemm1_beta", "gemm1_clamp_limit", "gemm2_bias")
ROWS: tuple[Row, ...] = (
    Row(
        r"(gemma_)?(fused_add_)?rmsnorm_h\d+(_eps[\d.e-]+)?",
        ("hidden_states", "weight"),
        ("residual",),
        "torch.nn.functional.rms_norm",
        independent.norm,
    ),
    Row(
        r"gqa_paged_(decode|prefill)_(?!.*_cap).*",
        ("q", "k_cache", "v_cache", *_PAGES),
        ("sink", "qo_indptr", "kv_last_page_len", "sm_scale"),
        _SDPA,
        independent.gqa_paged,
    ),
    Row(
        r"trtllm_batch_(decode|context)(_sinks)?(_win\d+)?_h\d+(?!.*_cap).*",
        ("query", "kv_cache", *_TABLES),
        ("sinks", "cum_seq_lens_q", "cum_seq_lens_kv"),
        _SDPA,
        independent.trtllm_paged,
    ),
    Row(
        r"batch_attention_run_(non)?causal_.*",
        ("q", "k_cache", "v_cache", *_PAGES, "qo_indptr", "kv_len", "sm_scale"),
        (),
        _SDPA,
        planned.batch,
    ),
    Row(
        r"multi_level_cascade_run_noncausal_.*",
        ("q", "paged_kv_cache", "sm_scale"),
        tuple(f"{n}_{level}" for n in (*_PAGES, "qo_indptr", "kv_last_page_len") for level in "01"),
        f"{_SDPA} over the keys of both levels",
        planned.cascade,
    ),
    Row(
        r"(batch_)?pod_run_(non)?causal_.*",
        ("q_p", "q_d", "k_cache_d", "v_cache_d", "sm_scale"),
        (
            *("k_p", "v_p", "k_cache_p", "v_cache_p", "qo_indptr_p"),
            *(f"{name}_{side}" for name in (*_PAGES, "kv_last_page_len") for side in "pd"),
        ),
        _SDPA,
        planned.pod,
    ),
    Row(
        r"trtllm_fmha_v2_prefill_.*",
        ("qkv", "cum_seq_lens_q", "bmm1_scale", "bmm2_scale"),
        (),
        _SDPA,
        planned.packed,
    ),
    Row(
        r"block_sparse_run_.*",
        ("q", "k", "v", "block_indptr", "block_indices", "sm_scale"),
        (),
        _SDPA,
        planned.blocks,
    ),
    Row(
        r"var_block_sparse_run_.*",
        ("q", "k", "v", "block_mask_map", "block_row_sz", "block_col_sz", "sm_scale"),
        (),
        _SDPA,
        planned.variable_blocks,
    ),
    Row(
        r"xqa_mla_.*",
        ("q", "k_cache", "v_cache", "page_table", "seq_lens"),
        (),
        _SDPA,
        planned.xqa_mla,
    ),
    Row(
        r"(gqa_ragged|cute_dsl_batch_prefill_run_(non)?causal|mla_ragged_prefill)_(?!.*_cap).*",
        ("q", "k", "v", "qo_indptr", "kv_indptr"),
        ("sm_scale",),
        _SDPA,
        independent.ragged,
    ),
    Row(
        r"mla_paged_(decode|prefill)_.*",
        ("q_nope", "q_pe", "ckv_cache", "kpe_cache", *_PAGES),
        ("qo_indptr", "kv_last_page_len", "sm_scale"),
        _SDPA,
        independent.mla_paged,
    ),
    Row(
        r"trtllm_batch_decode_mla_dense_.*",
        ("query", "kv_cache", *_TABLES),
        (),
        _SDPA,
        independent.mla_dense,
    ),
    Row(
        r"merge_state_h\d+_d\d+",
        ("v_a", "s_a", "v_b", "s_b"),
        (),
        f"{_SDPA} over both parts of the keys",
        independent.merge,
    ),
    Row(r"top_k_renorm_probs_v\d+", ("probs", "top_k"), (), _SORTED, independent.top_k_renorm),
    Row(r"top_p_renorm_probs_v\d+", ("probs", "top_p"), (), _SORTED, independent.top_p_renorm),
    Row(
        r"(sampling_from_probs|(top_k_|top_p_|top_k_top_p_|min_p_)sampling)_v\d+(_joint)?",
        ("probs",),
        ("top_k", "top_p", "min_p"),
        f"shares of {drawn.DRAWS} draws",
        drawn.shares,
    ),
    Row(
        r"(top_k_top_p_)?sampling_from_logits_v\d+",
        ("logits",),
        ("top_k", "top_p"),
        f"shares of {drawn.DRAWS} draws",
        drawn.shares,
    ),
    Row(r"top_k_mask_logits_v\d+", ("logits", "top_k"), (), _SORTED, independent.top_k_mask),
    Row(
        r"fused_topk_deepseek_e\d+_k\d+",
        ("scores", "bias", "n_group", "topk_group", "routed_scaling_factor"),
        ("topk_values", "topk_indices"),
        "a loop over tokens",
        experts.deepseek_topk,
    ),
    Row(
        r"moe_fp8_block_scale_ds_routing_.*",
        (*_EXPERTS, "routing_bias"),
        (),
        _TOKENS,
        experts.block_scaled,
    ),
    Row(r"moe_fp8_block_scale_renormalize_routing_.*", _EXPERTS, (), _TOKENS, experts.block_scaled),
    Row(
        r"moe_((mxfp8|(mxfp8|bf16)_mxfp4|nvfp4)_block_scale|fp8_per_tensor|bf16)_\w+_routing_.*",
        ("routing_logits", "hidden_states", "gemm1_weights", "gemm2_weights"),
        ("routing_bias", *_EXPERTS, *_BEYOND, *_FACTORS),
        f"{_TOKENS} in float64",
        scaled.mixture,
    ),
    Row(
        r"moe_fp4_block_scale_(?!llama4)\w+_routing_.*_act3(_ng\d+_kg\d+)?",
        _EXPERTS[:-1],
        ("routing_bias", "routed_scaling_factor", *_FACTORS),
        f"{_TOKENS} in float64",
        scaled.mixture,
    ),
    Row(
        r"((nv|mx)?fp4_quantize|silu_and_mul_nvfp4_quantize)_k\d+",
        ("input",),
        ("global_scale",),
        _SEARCH,
        quantized.fp4,
    ),
    Row(r"mxfp8_quantize_k\d+", ("input",), (), _SEARCH, quantized.fp8),
    Row(
        r"(add_)?rmsnorm_fp4quant_h\d+(_eps[\d.e-]+)?",
        ("input", "weight", "global_scale"),
        ("residual",),
        f"torch.nn.functional.rms_norm and {_SEARCH}",
        quantized.norm,
    ),
    Row(
        r"silu_and_mul_scaled_nvfp4_experts_quantize_.*",
        ("a", "mask", "a_global_sf"),
        (),
        f"torch.nn.functional.silu and {_SEARCH}",
        quantized.experts,
    ),
    Row(
        r"trtllm_(bf16|fp[48]_(block|per_tensor)_scale)_routed_moe_.*",
        ("topk_ids", "hidden_states", "gemm1_weights", "gemm2_weights", "local_expert_offset"),
        (*_EXPERTS, *_FACTORS),
        _TOKENS,
        given.routed,
    ),
    Row(
        r"trtllm_fp8_per_tensor_scale_moe_.*",
        ("routing_logits", "hidden_states", "gemm1_weights", "gemm2_weights"),
        ("local_expert_offset", *_FACTORS),
        _TOKENS,
        given.softmaxed,
    ),
    Row(
        r"trtllm_bf16_moe_blocks_renormalize_.*",
        ("routing_logits", "hidden_states", "gemm1_weights", "gemm2_weights"),
        ("local_expert_offset",),
        _TOKENS,
        given.summing_to_one,
    ),
    Row(
        r"mono_moe_.*",
        ("activations_in", "router_logits", "expert_weights_up", "expert_weights_down"),
        ("expert_scales_up", "expert_scales_down"),
        _TOKENS,
        given.quantizing,
    ),
    Row(
        r"gemm_fp4_N\d+_K\d+",
        ("A", "B", "a_descale", "b_descale", "alpha"),
        (),
        _MATMUL,
        products.fp4,
    ),
    Row(r"gemm_fp8_N\d+_K\d+", ("A", "B", "alpha"), (), _MATMUL, products.fp8_blocks),
    Row(
        r"grouped_gemm_nt_masked_.*",
        ("lhs", "lhs_scale", "rhs", "rhs_scale", "masked_m", "alpha"),
        (),
        _MATMUL,
        products.grouped_fp4,
    ),
    Row(r"segment_gemm_run_.*", ("x", "weights", "seg_indptr"), (), _MATMUL, products.segments),
    Row(
        r"chain_speculative_sampling_v\d+",
        ("draft_probs", "draft_token_ids", "target_probs"),
        (),
        f"shares of {recurrent.ROWS} rows",
        recurrent.chain,
    ),
    Row(r"gemm_n\d+_k\d+(_\w+)?", ("A", "B"), (), "torch.matmul", independent.gemm),
    Row(r"silu_and_mul_.*", (), ("x", "input"), "torch.nn.functional.silu", independent.gated_silu),
    *beside.ROWS,
)


def row_of(definition: Definition) -> Row | None:
    """Return the row for a definition; None where no independent implementation is known."""
    names = set(definition["inputs"])
    for row in ROWS:
        fits = set(row.inputs) <= names <= {*row.inputs, *row.others}
        if fits and re.fullmatch(row.name, definition["name"]):
            return row
    return None
