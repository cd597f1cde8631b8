"""Calls as SGLang 0.5.21 makes them, at the sizes of real models, and the template of each."""

from __future__ import annotations

from typing import Any

from kerneldefs.capture.record import TensorFact

from .attention_cases import ATTENTION
from .calls import BF16, FP8, FP32, I32, Case, case, fact


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


CASES: dict[str, Case] = {
    **ATTENTION,
    "rmsnorm": norm("rmsnorm", 7168, 1e-6),
    "rmsnorm eps 1e-5": norm("rmsnorm", 4096, 1e-5),
    "fused add rmsnorm": norm("fused_add_rmsnorm", 7168, 1e-6),
    "moe DeepSeek routing": moe("ds", 2),
    "moe renormalize routing": moe("renormalize", 1, n_group=None, topk_group=None),
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
