"""Attention calls as SGLang 0.5.21 makes them, at the sizes of Llama-3.1-8B and Kimi-K2."""

from __future__ import annotations

from typing import Any

from kerneldefs.capture.record import TensorFact

from .calls import BF16, FP32, I32, Case, case, fact, planned

_RUN = {
    "q_scale": None,
    "k_scale": None,
    "v_scale": None,
    "out": None,
    "lse": None,
    "return_lse": False,
    "enable_pdl": None,
    "kv_cache_sf": None,
}
_NO_MASK = {"causal": False, "window_left": -1, "logits_soft_cap": 0.0}
_DECODE_PLAN = planned(
    indptr=fact(I32, 5),
    indices=fact(I32, 132),
    last_page_len=fact(I32, 4),
    num_qo_heads=32,
    num_kv_heads=8,
    head_dim=128,
    page_size=1,
    sm_scale=None,
    pos_encoding_mode="NONE",
)
_PREFILL_PLAN = planned(
    qo_indptr=fact(I32, 5),
    paged_kv_indptr=fact(I32, 5),
    paged_kv_indices=fact(I32, 132),
    paged_kv_last_page_len=fact(I32, 4),
    num_qo_heads=32,
    num_kv_heads=8,
    head_dim_qk=128,
    head_dim_vo=None,
    page_size=1,
    causal=False,
    custom_mask=None,
    pos_encoding_mode="NONE",
)
_MLA_PLAN = planned(
    qo_indptr=fact(I32, 5),
    kv_indptr=fact(I32, 5),
    kv_indices=fact(I32, 132),
    kv_len_arr=fact(I32, 4),
    num_heads=8,
    head_dim_ckv=512,
    head_dim_kpe=64,
    page_size=1,
    causal=False,
    sm_scale=0.13,
    q_data_type=BF16,
    kv_data_type=BF16,
)


def ragged_plan(heads: int, kv: int, qk: int, vo: int) -> dict[str, Any]:
    """Return the plan of a ragged prefill of four requests."""
    return planned(
        qo_indptr=fact(I32, 5),
        kv_indptr=fact(I32, 5),
        num_qo_heads=heads,
        num_kv_heads=kv,
        head_dim_qk=qk,
        head_dim_vo=vo,
        causal=True,
        custom_mask=None,
        pos_encoding_mode="NONE",
        sm_scale=None,
    )


def paged_decode(**tensors: TensorFact) -> Case:
    """Return Llama-3.1-8B's paged decode with the given cache arguments."""
    return case(
        "attention:gqa_paged_decode_trace",
        "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper.run",
        {"q": fact(BF16, 4, 32, 128), **tensors},
        {**_RUN, "window_left": None, "sinks": None},
        (fact(BF16, 4, 32, 128),),
        _DECODE_PLAN,
        {"window_left": -1, "logits_soft_cap": 0.0},
    )


def mla(queries: int, causal: bool) -> Case:
    """Return Kimi-K2's paged MLA at TP8: decode with four queries, else prefill."""
    return case(
        "attention:mla_paged_decode_trace",
        "flashinfer.mla._core.BatchMLAPagedAttentionWrapper.run",
        {
            "q_nope": fact(BF16, queries, 8, 512),
            "q_pe": fact(BF16, queries, 8, 64),
            "ckv_cache": fact(BF16, 65537, 1, 512),
            "kpe_cache": fact(BF16, 65537, 1, 64),
            "out": fact(BF16, queries, 8, 512),
        },
        {
            "lse": None,
            "return_lse": False,
            "ckv_scale": None,
            "kpe_scale": None,
            "page_table": None,
        },
        (fact(BF16, queries, 8, 512),),
        {**_MLA_PLAN, "causal": causal},
        {"causal": causal},
    )


def trtllm_ragged(causal: bool, return_lse: bool = False) -> Case:
    """Return Kimi-K2's MLA prefill on sm_100 at TP8."""
    output = (fact(BF16, 128, 8, 128),)
    return case(
        "gemm:trtllm_ragged_attention_deepseek_trace",
        "flashinfer.prefill.trtllm_ragged_attention_deepseek",
        {
            "query": fact(BF16, 128, 8, 192),
            "key": fact(BF16, 160, 8, 192),
            "value": fact(BF16, 160, 8, 128),
            "workspace_buffer": fact("int8", 1024),
            "seq_lens": fact("int64", 4),
            "cum_seq_lens_q": fact(I32, 5),
            "cum_seq_lens_kv": fact(I32, 5),
            "out": output[0],
        },
        {
            "max_q_len": 32,
            "max_kv_len": 40,
            "bmm1_scale": 0.13,
            "bmm2_scale": 1.0,
            "o_sf_scale": 1.0,
            "batch_size": 4,
            "window_left": -1,
            "enable_pdl": False,
            "is_causal": causal,
            "return_lse": return_lse,
            "attention_sinks": None,
            "sage_attn_sfs#0": None,
            "num_elts_per_sage_attn_blk#0": 0,
        },
        (*output, fact(FP32, 128, 8)) if return_lse else output,
        phase="prefill",
    )


def trtllm_paged(template: str, op: str, **tensors: TensorFact) -> Case:
    """Return Llama-3.1-8B's attention on sm_100: K and V are a tuple, heads before tokens."""
    cache = fact(BF16, 1025, 8, 64, 128)
    tokens = 4 if op.endswith("decode_with_kv_cache") else 128
    context = {"max_q_len": 32, "max_kv_len": 32, "batch_size": 4} if tokens == 128 else {}
    return case(
        template,
        op,
        {
            "query": fact(BF16, tokens, 32, 128),
            "kv_cache#0": cache,
            "kv_cache#1": cache,
            "workspace_buffer": fact("uint8", 1024),
            "block_tables": fact(I32, 4, 64),
            "seq_lens": fact(I32, 4),
            **tensors,
        },
        {
            "max_seq_len": 33,
            "bmm1_scale": 0.0884,
            "bmm2_scale": 1.0,
            "window_left": -1,
            "out_dtype": BF16,
            "sinks": None,
            "kv_layout": "HND",
            **context,
        },
        (fact(BF16, tokens, 32, 128),),
    )


_CACHE = fact(BF16, 65537, 8, 128)

ATTENTION: dict[str, Case] = {
    "paged decode": paged_decode(**{"paged_kv_cache#0": _CACHE, "paged_kv_cache#1": _CACHE}),
    "paged decode HND": paged_decode(
        **{
            "paged_kv_cache#0": fact(BF16, 100, 8, 1, 128),
            "paged_kv_cache#1": fact(BF16, 100, 8, 1, 128),
        }
    ),
    "paged decode 5-D": paged_decode(paged_kv_cache=fact(BF16, 100, 2, 1, 8, 128)),
    "paged prefill on a prefix": case(
        "attention:gqa_paged_prefill_trace",
        "flashinfer.prefill.BatchPrefillWithPagedKVCacheWrapper.run",
        {"q": fact(BF16, 128, 32, 128), "paged_kv_cache#0": _CACHE, "paged_kv_cache#1": _CACHE},
        {**_RUN, "return_lse": True, "window_left": None, "sinks": None},
        (fact(BF16, 128, 32, 128), fact(FP32, 128, 32)),
        _PREFILL_PLAN,
        _NO_MASK,
        "prefill on a cached prefix",
    ),
    "ragged prefill": case(
        "attention:gqa_ragged_prefill_trace",
        "flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper.run",
        {
            "q": fact(BF16, 128, 32, 128),
            "k": fact(BF16, 128, 8, 128),
            "v": fact(BF16, 128, 8, 128),
        },
        {**_RUN, "o_scale": None},
        (fact(BF16, 128, 32, 128),),
        ragged_plan(32, 8, 128, 128),
        {"causal": True, "window_left": -1, "logits_soft_cap": 0.0},
        "prefill",
    ),
    "ragged MLA prefill": case(
        "attention:gqa_ragged_prefill_trace",
        "flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper.run",
        {"q": fact(BF16, 128, 8, 192), "k": fact(BF16, 128, 8, 192), "v": fact(BF16, 128, 8, 128)},
        {**_RUN, "o_scale": None},
        (fact(BF16, 128, 8, 128),),
        ragged_plan(8, 8, 192, 128),
        {"causal": True, "window_left": -1, "logits_soft_cap": 0.0},
        "prefill",
    ),
    "MLA decode": mla(4, False),
    "MLA prefill": mla(128, True),
    "trtllm ragged causal": trtllm_ragged(True),
    "trtllm ragged non-causal": trtllm_ragged(False, return_lse=True),
    "trtllm decode": trtllm_paged(
        "attention:trtllm_batch_decode_trace", "flashinfer.decode.trtllm_batch_decode_with_kv_cache"
    ),
    "trtllm context": trtllm_paged(
        "attention:trtllm_batch_context_trace",
        "flashinfer.prefill.trtllm_batch_context_with_kv_cache",
        cum_seq_lens_q=fact(I32, 5),
        cum_seq_lens_kv=fact(I32, 5),
    ),
    "trtllm MLA decode": case(
        "attention:trtllm_batch_decode_mla_dense_trace",
        "flashinfer.mla._core.trtllm_batch_decode_with_kv_cache_mla",
        {
            "query": fact(BF16, 4, 1, 8, 576),
            "kv_cache": fact(BF16, 1025, 1, 64, 576),
            "workspace_buffer": fact("int8", 1024),
            "block_tables": fact(I32, 4, 64),
            "seq_lens": fact(I32, 4),
        },
        {
            "qk_nope_head_dim": 128,
            "kv_lora_rank": 512,
            "qk_rope_head_dim": 64,
            "max_seq_len": 33,
            "bmm1_scale": 0.13,
            "bmm2_scale": 1.0,
            "sinks": None,
            "sparse_mla_top_k": 0,
            "cum_seq_lens_q": None,
        },
        (fact(BF16, 4, 1, 8, 512),),
    ),
    "merge state": case(
        "cascade:merge_state_trace",
        "flashinfer.cascade.merge_state",
        {
            "v_a": fact(BF16, 128, 32, 128),
            "s_a": fact(FP32, 128, 32),
            "v_b": fact(BF16, 128, 32, 128),
            "s_b": fact(FP32, 128, 32),
        },
        {},
        (fact(BF16, 128, 32, 128), fact(FP32, 128, 32)),
    ),
}
