"""Ops of the records that hooks write, which the families of derive/ read; needs no torch."""

from __future__ import annotations

from kerneldefs.capture.record import TensorFact

ACTIVATION = "sglang.activation"
ATTENTION = "sglang.attention"
FUSED_MOE = "sglang.fused_moe"
GATED_PRODUCT = "sglang.gated_product"  # a product, its gated activation and quantization
INDEXER = "sglang.sparse_indexer"
KV_APPEND = "sglang.kv_append"
LINEAR = "torch.linear"
LINEAR_ATTENTION = "sglang.linear_attention"
MATMUL = "torch.matmul"
NORM = "sglang.norm"
ROPE = "sglang.rotary_embedding"
SAMPLER = "sglang.sampler"
STATE_SPACE = "sglang.selective_state_update"

# SGLang's RoutingMethodType (sglang/srt/layers/moe/utils.py, 0.5.21), whose numbers FlashInfer
# takes, in the words of FlashInfer's template names.
ROUTINGS = {
    0: "default",
    1: "renormalize",
    2: "ds",
    3: "llama4",
    4: "renormalize_naive",
    5: "topk",
    6: "sigmoid_renorm",
    7: "minimax2",
    8: "sigmoid",
}
ROUTING_NUMBERS = {name: number for number, name in ROUTINGS.items()}


def contiguous(shape: tuple[int, ...], dtype: str) -> TensorFact:
    """Return the fact of a contiguous tensor: shape in elements, dtype without `torch.`."""
    stride, strides = 1, []
    for size in reversed(shape):
        strides.append(stride)
        stride *= size
    return TensorFact(shape, dtype, tuple(reversed(strides)))
