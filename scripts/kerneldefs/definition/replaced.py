"""FlashInfer references that compute something else than their kernel: ours instead, or none."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Replaced:
    """A FlashInfer reference that computes something else, and ours in its place.

    `tensors` are the inputs that must have been tensors for ours to be true.
    """

    cause: str
    reference: str
    tensors: tuple[str, ...]


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
    "top_k_renorm_probs": Replaced(
        f"{_SAMPLING}: applies the largest top_k of the batch to every row",
        "top_k_renorm_probs",
        ("probs", "top_k"),
    ),
}

# References known to compute something else than their kernel, and none of ours instead.
DENIED: dict[str, str] = {
    "allreduce_fusion": "the reference adds nothing over ranks: it is another operator",
    "batch_attention_run": "the reference is attention of every query over the whole cache",
    "batch_pod_run": "the reference is attention of every query over the whole cache",
    "block_sparse_run": "the reference is dense attention",
    "chain_speculative_sampling": "the reference takes the most likely tokens",
    "decode_cp_a2a_alltoall": "the reference returns its inputs",
    "gemm_fp4": "the reference reads packed codes as integers, on the wrong axis",
    "multi_level_cascade_run": "the reference is attention of every query over the whole cache",
    "pod_run": "the reference is attention of every query over the whole cache",
    "sampling_from_logits": "the reference takes the most likely token",
    "segment_gemm_run": "the reference multiplies every row with the first weight",
    "top_k_mask_logits": "the reference applies the largest top_k of the batch to every row",
    "top_k_top_p_sampling_from_logits": "the reference takes the most likely token",
    "var_block_sparse_run": "the reference is dense attention",
}
