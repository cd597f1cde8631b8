"""One reader a kind of layer: what its call says of the kernel that it runs.

A reader gets the layer, the bound arguments of its method, and the observer's notes. It takes
shapes from tensors and sizes from the layer's own attributes, never from packed weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from kerneldefs.capture.observe import experts, weights
from kerneldefs.capture.observe.ops import (
    ACTIVATION,
    ATTENTION,
    GATED_PRODUCT,
    INDEXER,
    KV_APPEND,
    LINEAR,
    LINEAR_ATTENTION,
    NORM,
    ROPE,
    SAMPLER,
    STATE_SPACE,
    contiguous,
)
from kerneldefs.capture.observe.seen import Seen, dtype_name
from kerneldefs.capture.record import TensorFact

Reader = Callable[[Any, dict[str, Any], dict[str, Any]], Iterator[Seen]]


def linear(method: Any, arguments: dict[str, Any], notes: dict[str, Any]) -> Iterator[Seen]:
    """A linear layer's matmul, called through its quantization method."""
    layer, x = arguments["layer"], arguments.get("x")
    x = x[0] if isinstance(x, tuple) else x
    weight = weights.first_tensor(layer, "weight", "weight_packed", "qweight")
    if not isinstance(x, torch.Tensor) or x.ndim < 2:
        return
    n, k = _size(layer, weight, x)
    block = weights.block_size(method)
    kind = "none" if weight is None else dtype_name(weight.dtype)
    yield Seen(
        LINEAR,
        {"x": x, "weight": contiguous((n, k), kind), **weights.scales(layer)},
        {
            "kind": type(layer).__name__,
            "scheme": weights.scheme_name(layer, method),
            "quantization": weights.quantization(layer, method, weight),
            "block_n": block and block[0],
            "block_k": block and block[1],
            "bias": isinstance(arguments.get("bias"), torch.Tensor),
            "shards": shards(layer),
        },
    )


def gated_product(mlp: Any, rows: int) -> tuple[Seen, TensorFact]:
    """Return an NVFP4 MLP's first product, SiLU and quantization, which are one kernel of SGLang's.

    What `DeepseekV2MLP.forward` of sglang 0.5.21 does where it fuses: [rows, K] in bfloat16 to
    [rows, N / 2] of packed FP4, N being both halves.
    """
    layer = mlp.gate_up_proj
    n, k = int(layer.output_size_per_partition), int(layer.input_size_per_partition)
    x, packed = contiguous((rows, k), "bfloat16"), contiguous((n, k // 2), "uint8")
    scalars = {"kind": type(mlp).__name__, "function": "silu_and_mul", "shards": shards(layer)}
    return Seen(GATED_PRODUCT, {"x": x, "weight": packed}, scalars), contiguous(
        (rows, n // 4), "uint8"
    )


def _size(layer: Any, weight: torch.Tensor | None, x: torch.Tensor) -> tuple[int, int]:
    """Return N and K on this rank, from the weight where it is not packed."""
    k = int(x.shape[-1]) * (2 if x.dtype == torch.uint8 else 1)  # two FP4 numbers a byte
    if weight is not None and weight.ndim == 2 and weight.dtype in weights.FLOATS:
        return int(weight.shape[0]), k  # whose layer may repeat parts on every rank
    n = getattr(layer, "output_size_per_partition", None) or getattr(
        layer, "num_embeddings_per_partition", None
    )
    n = n or getattr(layer, "output_size", None) or (weight.shape[0] if weight is not None else 0)
    return int(n), k


def shards(layer: Any) -> str | None:
    """Return the widths on this rank of the projections that a fused layer holds, "q,k,v"."""
    if hasattr(layer, "num_kv_heads") and hasattr(layer, "head_size"):
        q, kv = layer.num_heads * layer.head_size, layer.num_kv_heads * layer.head_size
        return f"{q},{kv},{layer.num_kv_heads * getattr(layer, 'v_head_size', layer.head_size)}"
    sizes = getattr(layer, "output_partition_sizes", None)
    if hasattr(layer, "output_sizes") and sizes and len(sizes) > 1:
        return ",".join(str(int(n)) for n in sizes)
    return None


def norm(layer: Any, arguments: dict[str, Any], notes: dict[str, Any]) -> Iterator[Seen]:
    """An RMS or layer norm, with what it adds first."""
    x, residual = arguments.get("x"), arguments.get("residual")
    if isinstance(x, torch.Tensor) and x.numel():
        yield norm_of(layer, x, residual)


def norm_of(layer: Any, x: Any, residual: Any = None) -> Seen:
    """Return the observation of a norm layer on rows of `x`."""
    kind = type(layer).__name__
    weight = getattr(layer, "weight", None)
    return Seen(
        NORM,
        {"x": x, "residual": residual, "weight": weight, "bias": getattr(layer, "bias", None)},
        {
            "kind": kind,
            "style": _norm_style(kind),
            "eps": float(getattr(layer, "variance_epsilon", getattr(layer, "eps", 0.0))),
            "partial": getattr(layer, "variance_size_override", None),
            "cast_first": bool(getattr(layer, "cast_x_before_out_mul", False)),
        },
    )


def _norm_style(kind: str) -> str:
    if kind in ("GemmaRMSNorm", "Gemma3RMSNorm"):
        return "gemma_rmsnorm"
    return "layernorm" if kind == "LayerNorm" else "rmsnorm"


def rope(layer: Any, arguments: dict[str, Any], notes: dict[str, Any]) -> Iterator[Seen]:
    """A rotary embedding of queries and keys."""
    query, key = arguments.get("query"), arguments.get("key")
    if isinstance(query, torch.Tensor) and isinstance(key, torch.Tensor):
        yield rope_of(layer, arguments.get("positions"), query, key)


def rope_of(layer: Any, positions: Any, query: Any, key: Any) -> Seen:
    """Return the observation of a rotary embedding."""
    return Seen(
        ROPE,
        {
            "positions": positions,
            "query": query,
            "key": key,
            "cos_sin_cache": weights.first_tensor(layer, "cos_sin_cache"),
        },
        {
            "kind": type(layer).__name__,
            "head_size": int(layer.head_size),
            "rotary_dim": int(layer.rotary_dim),
            "is_neox": bool(layer.is_neox_style),
            "sections": str(getattr(layer, "mrope_section", None) or "") or None,
        },
    )


def activation(layer: Any, arguments: dict[str, Any], notes: dict[str, Any]) -> Iterator[Seen]:
    """A gated activation: [tokens, 2 x width] -> [tokens, width]; or a plain one."""
    x, kind = arguments.get("x"), type(layer).__name__
    names = {
        "SiluAndMul": "silu_and_mul",
        "GeluAndMul": "gelu_tanh_and_mul"
        if getattr(layer, "approximate", "") == "tanh"
        else "gelu_and_mul",
    }
    limit = arguments.get("limit") or getattr(layer, "limit", None)
    if isinstance(x, torch.Tensor):
        yield Seen(
            ACTIVATION, {"x": x}, {"kind": kind, "function": names.get(kind, kind), "limit": limit}
        )


def attention(layer: Any, arguments: dict[str, Any], notes: dict[str, Any]) -> Iterator[Seen]:
    """Attention over the KV cache, whichever backend computes it.

    `idx_q` are the queries by which MiniMax-M3 chooses blocks of the cache (minimax_m3.py of sglang
    0.5.21); where it is absent, attention is to every key.
    """
    batch = arguments.get("forward_batch")
    mode = getattr(batch, "forward_mode", None)
    prefix = getattr(batch, "extend_prefix_lens_cpu", None)
    kind = getattr(layer, "attn_type", None)
    further = {**arguments, **(arguments.get("kwargs") or {})}
    chosen = further.get("topk_indices")
    yield Seen(
        ATTENTION,
        {name: further.get(name) for name in ("q", "k", "v", "idx_q")},
        {
            "kind": type(layer).__name__,
            "num_qo_heads": int(layer.tp_q_head_num),
            "num_kv_heads": int(layer.tp_k_head_num),
            "head_dim_qk": int(layer.head_dim),
            "head_dim_vo": int(layer.v_head_dim),
            "window_left": int(layer.sliding_window_size),
            "soft_cap": float(layer.logit_cap or 0.0),
            "scale": float(layer.scaling),
            "mode": getattr(mode, "name", str(mode)).lower(),
            "cached_prefix": bool(prefix and any(prefix)),
            "sinks": further.get("sinks") is not None,
            "sparse_topk": chosen.shape[-1] if isinstance(chosen, torch.Tensor) else None,
            "attention": getattr(kind, "value", None),
        },
    )


def linear_attention(
    layer: Any, arguments: dict[str, Any], notes: dict[str, Any]
) -> Iterator[Seen]:
    """Gated delta rule (one gate a head) or Kimi delta attention (one a channel).

    Which of them the bias of the gates tells; the gates may come with others in one tensor.
    """
    a, batch = arguments.get("a"), arguments.get("forward_batch")
    heads = int(layer.num_v_heads)
    per_channel = layer.dt_bias.numel() > heads
    yield Seen(
        LINEAR_ATTENTION,
        {
            "mixed_qkv": arguments.get("mixed_qkv"),
            "a": a,
            "b": arguments.get("b"),
            "A_log": layer.A_log,
            "dt_bias": layer.dt_bias,
        },
        {
            "kind": type(layer).__name__,
            "rule": "kda" if per_channel else "gdn",
            "num_q_heads": int(layer.num_q_heads),
            "num_k_heads": int(layer.num_k_heads),
            "num_v_heads": heads,
            "head_k_dim": int(layer.head_k_dim),
            "head_v_dim": int(layer.head_v_dim),
            "lower_bound": getattr(layer, "lower_bound", None),
            "mode": getattr(getattr(batch, "forward_mode", None), "name", "").lower(),
        },
    )


def state_space(_: Any, arguments: dict[str, Any], notes: dict[str, Any]) -> Iterator[Seen]:
    """One step of a Mamba state: the function's own arguments."""
    tensors = {k: v for k, v in arguments.items() if isinstance(v, torch.Tensor)}
    others = {k: v for k, v in arguments.items() if v is None or isinstance(v, (bool, int, float))}
    yield Seen(STATE_SPACE, tensors, others)


def kv_append(pool: Any, arguments: dict[str, Any], notes: dict[str, Any]) -> Iterator[Seen]:
    """New keys and values that go into the cache, one slot a token."""
    names = ("cache_k", "cache_v", "cache_k_nope", "cache_k_rope", "loc")
    tensors = {name: arguments.get(name) for name in names}
    tensors["loc"] = getattr(arguments.get("loc"), "loc", arguments.get("loc"))
    buffers = getattr(pool, "k_buffer", None) or getattr(pool, "kv_buffer", None) or [None]
    yield Seen(
        KV_APPEND,
        {**tensors, "buffer": buffers[0]},
        {"kind": type(pool).__name__, "page_size": int(getattr(pool, "page_size", 1) or 1)},
    )


def sampler(layer: Any, arguments: dict[str, Any], notes: dict[str, Any]) -> Iterator[Seen]:
    """Logits that are sampled from, and with which filters."""
    info = arguments["sampling_info"]
    flags = ("is_all_greedy", "need_top_k_sampling", "need_top_p_sampling", "need_min_p_sampling")
    yield Seen(
        SAMPLER,
        {"logits": arguments["logits_output"].next_token_logits},
        {
            "kind": type(layer).__name__,
            **{flag: bool(getattr(info, flag, False)) for flag in flags},
        },
    )


def indexer(layer: Any, arguments: dict[str, Any], notes: dict[str, Any]) -> Iterator[Seen]:
    """The indexer that chooses the keys of sparse attention."""
    yield Seen(
        INDEXER,
        {"x": arguments.get("x"), "q_lora": arguments.get("q_lora")},
        {
            "kind": type(layer).__name__,
            "num_heads": int(layer.n_heads),
            "head_dim": int(layer.head_dim),
            "topk": int(layer.index_topk),
        },
    )


def indexer_weights(layer: Any, rows: int) -> tuple[Seen, TensorFact]:
    """Return the product that weighs an indexer's heads, into single precision, and its result.

    Shorter prompts than the choice skip it (dsa_indexer.py of sglang 0.5.21).
    """
    n, k = layer.weight.shape
    weight = contiguous((n, k), dtype_name(layer.weight.dtype))
    seen = Seen(
        LINEAR,
        {"x": contiguous((rows, k), weight.dtype), "weight": weight},
        {"kind": type(layer).__name__, "scheme": "operator", "quantization": "none", "bias": False},
    )
    return seen, contiguous((rows, n), "float32")


def topk(layer: Any, arguments: dict[str, Any], notes: dict[str, Any]) -> Iterator[Seen]:
    """The router before a mixture of experts: remembered for the experts' call that follows."""
    notes["topk"] = layer.topk_config
    return iter(())


def fused_moe(layer: Any, arguments: dict[str, Any], notes: dict[str, Any]) -> Iterator[Seen]:
    """A fused mixture of experts, routed as the last router said."""
    return experts.read(layer, arguments, notes.get("topk"))
