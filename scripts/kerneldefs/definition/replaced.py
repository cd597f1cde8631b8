"""FlashInfer references that compute something else than their kernel: ours instead, or none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Replaced:
    """A FlashInfer reference that computes something else, and ours in its place.

    `tensors` are the inputs that must have been tensors for ours to be true; `constants` of ours
    are the sizes of axes.
    """

    cause: str
    reference: str
    tensors: tuple[str, ...]
    constants: Mapping[str, str] = dataclasses.field(default_factory=dict)


_SAMPLING = "flashinfer/trace/templates/sampling.py (0.6.18)"
REPLACED: dict[str, Replaced] = {
    "min_p_sampling": Replaced(
        f"{_SAMPLING}: takes the most likely token where the kernel draws one",
        "min_p_sampling",
        ("probs", "min_p"),
    ),
    "sampling_from_probs": Replaced(
        f"{_SAMPLING}: takes the most likely token where the kernel draws one",
        "sampling_from_probs",
        ("probs",),
    ),
    "sampling_from_logits": Replaced(
        f"{_SAMPLING}: takes the most likely token where the kernel draws one",
        "sampling_from_logits",
        ("logits",),
    ),
    "top_k_mask_logits": Replaced(
        f"{_SAMPLING}: applies the largest top_k of the batch to every row",
        "top_k_mask_logits",
        ("logits", "top_k"),
    ),
    "top_k_renorm_probs": Replaced(
        f"{_SAMPLING}: applies the largest top_k of the batch to every row",
        "top_k_renorm_probs",
        ("probs", "top_k"),
    ),
    "top_k_top_p_sampling_from_logits": Replaced(
        f"{_SAMPLING}: takes the most likely token where the kernel draws one",
        "top_k_top_p_sampling_from_logits",
        ("logits", "top_k", "top_p"),
    ),
    "xqa_mla": Replaced(
        "flashinfer/trace/templates/page.py (0.6.18): rounds its result to the queries' "
        "dtype, FP8, before the output's",
        "xqa_mla",
        ("q", "k_cache", "v_cache", "page_table", "seq_lens"),
        {"VALUE_DIM": "head_dim_ckv"},
    ),
}

_INTEGERS = "the reference packs rounded integers, which are no E2M1 codes, or scales by one"
_ROUNDING = "the reference rounds E8M0 scales down, the kernel up (quantization_utils.cuh, 0.6.18)"
_SCALES = "the reference returns scales in rows, where the template declares one flat array"
_ALIKE = "the reference weighs every chosen expert alike, the kernel by its logit"
_UNIFORM = "the reference weighs every expert alike, where the API unpacks weights from topk_ids"

# References known to compute something else than their kernel, and none of ours instead.
DENIED: dict[str, str] = {
    "add_rmsnorm_fp4quant": _INTEGERS,
    "allreduce_fusion": "the reference adds nothing over ranks: it is another operator",
    "batch_attention_run": "the reference is attention of every query over the whole cache",
    "batch_pod_run": "the reference is attention of every query over the whole cache",
    "block_sparse_run": "the reference is dense attention",
    "chain_speculative_sampling": "the reference takes the most likely tokens",
    "cute_dsl_batch_prefill_run": "the reference takes all requests for one, always causal",
    "decode_cp_a2a_alltoall": "the reference returns its inputs",
    "fp4_quantize": _SCALES,
    "gdn_prefill": "the reference computes the gates from A_log and dt_bias, the API takes them",
    "gemm_fp4": "the reference reads packed codes as integers, on the wrong axis",
    "gemm_fp8": "the reference reorders the weights' blocks wrongly and leaves out alpha",
    "grouped_gemm_nt_masked": "the reference applies no scales",
    "moe_fp4_block_scale_topk_routing": _ALIKE,
    "moe_fp8_block_scale_topk_routing": _ALIKE,
    "mono_moe": "the reference activates the last half of the up weights, the kernel the first",
    "multi_level_cascade_run": "the reference is attention of every query over the whole cache",
    "mxfp4_quantize": _ROUNDING,
    "mxfp8_quantize": _SCALES,
    "nvfp4_quantize": _SCALES,
    "pod_run": "the reference is attention of every query over the whole cache",
    "rmsnorm_fp4quant": _INTEGERS,
    "segment_gemm_run": "the reference multiplies every row with the first weight",
    "silu_and_mul_nvfp4_quantize": _SCALES,
    "silu_and_mul_scaled_nvfp4_experts_quantize": _INTEGERS,
    "trtllm_bf16_routed_moe": _UNIFORM,
    "trtllm_fmha_v2_prefill": "the declared tensor is queries, keys and values at once",
    "trtllm_fp4_block_scale_routed_moe": _UNIFORM,
    "trtllm_fp8_block_scale_routed_moe": _UNIFORM,
    "trtllm_fp8_per_tensor_scale_moe": "the reference scales up by gate's scale and gate by up's",
    "trtllm_fp8_per_tensor_scale_routed_moe": _UNIFORM,
    "var_block_sparse_run": "the reference is dense attention",
}


def denied(prefix: str) -> str | None:
    """Return why a reference is not to be staged; None where nothing is held against it."""
    return DENIED.get(prefix)
