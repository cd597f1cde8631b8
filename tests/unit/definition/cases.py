"""Calls as SGLang 0.5.21 makes them, at the sizes of real models, and the template of each."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from kerneldefs.capture.record import KernelCall, TensorFact

BF16, FP8, FP32, I32 = "bfloat16", "float8_e4m3fn", "float32", "int32"


@dataclasses.dataclass(frozen=True)
class Case:
    """A recorded call and its FlashInfer template, as module:attribute."""

    template: str
    call: KernelCall


def fact(dtype: str, *shape: int) -> TensorFact:
    """Return a contiguous tensor's fact."""
    stride = tuple(math.prod(shape[place + 1 :]) for place in range(len(shape)))
    return TensorFact(shape, dtype, stride)


def planned(**arguments: Any) -> dict[str, Any]:
    """Return plan() arguments as a capture records them."""
    return {
        k: dataclasses.asdict(v) if isinstance(v, TensorFact) else v for k, v in arguments.items()
    }


def case(
    template: str,
    op: str,
    tensors: dict[str, TensorFact],
    scalars: dict[str, Any] | None = None,
    outputs: tuple[TensorFact, ...] = (),
    plan: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
    phase: str = "decode",
) -> Case:
    """Return a case; the call's definition name is filled in from what FlashInfer dumps."""
    call = KernelCall(
        op=op,
        tensors=tensors,
        scalars=scalars or {},
        outputs=outputs,
        plan=plan,
        state=state or {},
        phase=phase,
        layer="model.layers.N",
        definition=None,
        template=f"{op}:{template.partition(':')[2]}",
        marks=(),
    )
    return Case(template, call)


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


def moe(routing: str, method: int, **scalars: Any) -> Case:
    """Return a block-scale FP8 MoE at Kimi-K2's sizes, TP8 and EP4."""
    return case(
        f"moe:trtllm_fp8_block_scale_moe_{routing}_routing_trace",
        "flashinfer.fused_moe.core.trtllm_fp8_block_scale_moe",
        {
            "routing_logits": fact(FP32, 128, 384),
            "routing_bias": fact(FP32, 384),
            "hidden_states": fact(FP8, 128, 7168),
            "hidden_states_scale": fact(FP32, 56, 128),
            "gemm1_weights": fact(FP8, 96, 2048, 7168),
            "gemm1_weights_scale": fact(FP32, 96, 16, 56),
            "gemm2_weights": fact(FP8, 96, 7168, 1024),
            "gemm2_weights_scale": fact(FP32, 96, 56, 8),
            "output": fact(BF16, 128, 7168),
        },
        {
            "num_experts": 384,
            "top_k": 8,
            "n_group": 1,
            "topk_group": 1,
            "intermediate_size": 1024,
            "local_expert_offset": 0,
            "local_num_experts": 96,
            "routed_scaling_factor": 2.827,
            "routing_method_type": method,
            "use_shuffled_weight": False,
            "weight_layout": 0,
            "do_finalize": True,
            "fp8_quantization_type": 1,
            "num_fused_shared_experts": None,
            "activation_type": 3,
            "norm_topk_prob": True,
            "gemm1_alpha": None,
            "gemm1_beta": None,
            "gemm1_clamp_limit": None,
            **scalars,
        },
        (fact(BF16, 128, 7168),),
    )


def norm(name: str, hidden: int, eps: float) -> Case:
    """Return an RMSNorm, plain or fused with the residual's sum."""
    tensors = {"input": fact(BF16, 4, hidden), "weight": fact(BF16, hidden)}
    if "fused" in name:
        tensors["residual"] = fact(BF16, 4, hidden)
    outputs = () if "fused" in name else (fact(BF16, 4, hidden),)
    scalars = {"eps": eps, "enable_pdl": None}
    return case(f"norm:{name}_trace", f"flashinfer.norm.{name}", tensors, scalars, outputs)


def sampling(template: str, op: str, output: TensorFact, **arguments: Any) -> Case:
    """Return a sampling operator of four rows at Kimi-K2's vocabulary."""
    tensors = {k: v for k, v in arguments.items() if isinstance(v, TensorFact)}
    scalars = {k: v for k, v in arguments.items() if not isinstance(v, TensorFact)}
    return case(
        f"sampling:{template}_trace",
        f"flashinfer.sampling.{op}",
        {"probs": fact(FP32, 4, 163840), **tensors},
        scalars,
        (output,),
    )


_TOKENS = fact(I32, 4)
_DRAW = {"indices": None, "deterministic": True, "generator": None, "return_valid": False}
_CACHE = fact(BF16, 65537, 8, 128)

CASES: dict[str, Case] = {
    "rmsnorm": norm("rmsnorm", 7168, 1e-6),
    "rmsnorm eps 1e-5": norm("rmsnorm", 4096, 1e-5),
    "fused add rmsnorm": norm("fused_add_rmsnorm", 7168, 1e-6),
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
    "moe DeepSeek routing": moe("ds", 2),
    "moe renormalize routing": moe("renormalize", 1, n_group=None, topk_group=None),
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
    "top-k top-p": sampling(
        "top_k_top_p_sampling",
        "top_k_top_p_sampling_from_probs",
        _TOKENS,
        top_k=fact(I32, 4),
        top_p=fact(FP32, 4),
        filter_apply_order="joint",
        **_DRAW,
    ),
    "top-k renorm": sampling(
        "top_k_renorm_probs", "top_k_renorm_probs", fact(FP32, 4, 163840), top_k=fact(I32, 4)
    ),
    "top-p renorm": sampling(
        "top_p_renorm_probs",
        "top_p_renorm_probs",
        fact(FP32, 4, 163840),
        top_p=fact(FP32, 4),
        is_deterministic=False,
    ),
    "min-p": sampling(
        "min_p_sampling", "min_p_sampling_from_probs", _TOKENS, min_p=fact(FP32, 4), **_DRAW
    ),
    "allreduce fusion": case(
        "comm:allreduce_fusion_trace",
        "flashinfer.comm.allreduce.allreduce_fusion",
        {"input": fact(BF16, 4, 7168), "residual_in": fact(BF16, 4, 7168)},
        {"pattern": 1, "workspace": "<Workspace>", "rms_eps": 1e-6},
    ),
    "silu and mul": case(
        "activation:silu_and_mul_trace",
        "flashinfer.activation.silu_and_mul",
        {"input": fact(BF16, 4, 4096)},
        {"out": None, "enable_pdl": None},
        (fact(BF16, 4, 2048),),
    ),
}
