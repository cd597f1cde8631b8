"""Attention of a decoder layer, with the projections, norms and rotation around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kerneldefs.capture.observe import ops
from kerneldefs.capture.observe.ops import contiguous
from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.predict.calls import (
    BLACKWELL,
    DECODE,
    EXTEND,
    REQUESTS,
    TOKENS,
    Subject,
    attention,
    call,
    layer_norm,
    linear,
    norms,
    rope,
)
from kerneldefs.serving.ranksizes import Indexer

# Models whose heads are normalised before the rotary embedding.
_QK_NORMS = ("qwen3", "gemma3", "gemma4", "glm4_moe", "olmo2", "hunyuan_v1", "minimax_m2")


def grouped_attention(subject: Subject) -> Iterator[KernelCall]:
    """Projections, norms, rotation and attention of grouped-query layers."""
    data, hidden = subject.data, subject.sizes.hidden or 0
    gate = 2 if subject.kind.startswith(("qwen3_next", "qwen3_5")) else 1  # gated output
    bias = bool(data.get("attention_bias")) or subject.kind.startswith("qwen2")
    for kind in subject.sizes.attention:
        q, kv = kind.qo_heads * kind.head_dim, kind.kv_heads * kind.head_dim
        v = kind.kv_heads * kind.v_head_dim
        width = gate * q + kv + v
        shards = (gate * q, kv, v)
        yield linear(subject, "self_attn.qkv_proj", width, hidden, shards=shards, bias=bias)
        heads = kind.qo_heads * kind.v_head_dim
        yield linear(subject, "self_attn.o_proj", hidden, heads, bias=subject.kind == "gpt_oss")
        if subject.kind.startswith(_QK_NORMS) or data.get("qk_norm_type") == "per_head":
            yield norms(subject, "self_attn.q_norm", kind.head_dim, fused=False)
        if subject.kind != "nemotron_h":  # whose attention layers know no positions
            rotary = int(kind.head_dim * _partial(subject))
            count = (kind.qo_heads, kind.kv_heads)
            yield rope(subject, "self_attn.rotary_emb", *count, kind.head_dim, rotary, neox=True)
        said: dict[str, Any] = {
            "heads": kind.qo_heads,
            "kv": kind.kv_heads,
            "qk": kind.head_dim,
            "vo": kind.v_head_dim,
            "window_left": -1 if kind.window is None else kind.window - 1,
            "soft_cap": float(data.get("attn_logit_softcapping") or 0.0),
            "sinks": subject.kind == "gpt_oss",
        }
        if _choices(subject) != {True}:
            yield from attention(subject, "self_attn.attn", **said)
        if True in _choices(subject):
            yield from _over_chosen_blocks(subject, said)


def _choices(subject: Subject) -> set[bool]:
    """Return whether layers attend to chosen blocks of the cache: MiniMax-M3's first do not."""
    sparse = subject.data.get("sparse_attention_config")
    layers = sparse.get("sparse_attention_freq") if isinstance(sparse, dict) else None
    return {bool(layer) for layer in layers or (0,)}


def _over_chosen_blocks(subject: Subject, said: Mapping[str, Any]) -> Iterator[KernelCall]:
    """What MiniMax-M3's choice of blocks adds: index heads, and pages of a block's size."""
    sparse = subject.data["sparse_attention_config"]
    heads = max(1, sparse["sparse_num_index_heads"] // subject.sizes.attn_tp)
    dim = sparse["sparse_index_dim"]
    width = (heads + 1) * dim
    yield linear(subject, "self_attn.index_qkv_proj", width, subject.sizes.hidden or 0)
    chosen = {"idx_q": contiguous((TOKENS, heads, dim), subject.dtype)}
    yield from attention(subject, "self_attn.attn", tensors=chosen, **said)
    rows = contiguous((REQUESTS, said["kv"], said["qk"]), subject.dtype)
    tensors = {"cache_k": rows, "cache_v": rows}
    page = {"page_size": sparse["sparse_block_size"]}
    yield call(ops.KV_APPEND, "self_attn.attn", tensors, page)


def _partial(subject: Subject) -> float:
    parameters = subject.data.get("rope_parameters") or {}
    value = subject.data.get("partial_rotary_factor")
    if value is None and isinstance(parameters, dict):
        value = parameters.get("partial_rotary_factor")
    return float(value) if isinstance(value, (int, float)) else 1.0


def latent_attention(subject: Subject) -> Iterator[KernelCall]:
    """Multi-head latent attention: absorbed for decode, unabsorbed for prefill."""
    latent, hidden = subject.sizes.latent, subject.sizes.hidden or 0
    if latent is None:
        return
    cached = latent.ckv + latent.kpe
    queries = latent.heads * latent.qk
    if latent.q_lora_rank:
        width = latent.q_lora_rank + cached
        yield linear(subject, "self_attn.fused_qkv_a_proj_with_mqa", width, hidden)
        yield linear(subject, "self_attn.q_b_proj", queries, latent.q_lora_rank)
        yield norms(subject, "self_attn.q_a_layernorm", latent.q_lora_rank, fused=False)
    else:
        yield linear(subject, "self_attn.q_proj", queries, hidden)
        yield linear(subject, "self_attn.kv_a_proj_with_mqa", cached, hidden)
    yield norms(subject, "self_attn.kv_a_layernorm", latent.ckv, fused=False)
    pairs = latent.heads * (latent.nope + latent.vo)
    yield linear(subject, "self_attn.kv_b_proj", pairs, latent.ckv)
    yield linear(subject, "self_attn.o_proj", hidden, latent.heads * latent.vo)
    for name, n, k in (("w_kc", latent.ckv, latent.nope), ("w_vc", latent.vo, latent.ckv)):
        yield call(
            ops.MATMUL,
            f"self_attn.{name}",
            {
                "x": contiguous((latent.heads, TOKENS, k), subject.dtype),
                "weight": contiguous((latent.heads, k, n), subject.dtype),
            },
            {"operator": "aten::bmm", "weight_name": name},
            (contiguous((latent.heads, TOKENS, n), subject.dtype),),
        )
    if not subject.data.get("mla_use_nope"):
        sizes = (latent.heads, 1, latent.kpe, latent.kpe)
        yield rope(subject, "self_attn.rotary_emb", *sizes, neox=False)
    yield from _sparse_indexer(subject, latent.kpe)
    indexer = _indexer(subject)
    sparse = indexer.top_k if indexer else None
    heads = {"heads": latent.heads, "kv": 1, "qk": cached, "vo": latent.ckv}
    scale = {"scale": latent.qk**-0.5, "sparse_topk": sparse}
    modes = [(DECODE, False), (EXTEND, True)]
    if sparse is None and _unabsorbed(subject):
        modes.pop()
    yield from attention(subject, "self_attn.attn_mqa", **heads, **scale, modes=modes)
    # Sparse models too: a prompt that has no more tokens than are chosen needs no choice.
    heads = {"heads": latent.heads, "kv": latent.heads, "qk": latent.qk, "vo": latent.vo}
    modes = [(EXTEND, False), *([(EXTEND, True)] if sparse else [])]
    yield from attention(subject, "self_attn.attn_mha", **heads, modes=modes)


def _unabsorbed(subject: Subject) -> bool:
    """Whether a prefill on a cached prefix is not absorbed either: trtllm_mla's on sm_100."""
    backend = subject.config.attention_backend
    own = backend is None and subject.kind in ("deepseek_v3", "kimi_k2")
    return subject.config.arch in BLACKWELL and (own or backend == "trtllm_mla")


def _indexer(subject: Subject) -> Indexer | None:
    """Return the indexer that chooses keys: only the backend dsa, SGLang's own choice, asks it."""
    config = subject.config
    named = {config.attention_backend}
    named |= {config.arguments.get(f"{phase}_attention_backend") for phase in ("prefill", "decode")}
    asked = named == {None} or named & {"dsa", "nsa"}
    return subject.sizes.indexer if asked else None


def _sparse_indexer(subject: Subject, rotary: int) -> Iterator[KernelCall]:
    """The indexer of sparse attention, whole on every rank: two projections, rotation, choice."""
    indexer, latent, hidden = _indexer(subject), subject.sizes.latent, subject.sizes.hidden
    if indexer is None or latent is None or not latent.q_lora_rank or not hidden:
        return
    width = indexer.heads * indexer.head_dim
    yield linear(subject, "self_attn.indexer.wq_b", width, latent.q_lora_rank)
    if subject.data.get("indexer_rope_interleave"):  # GLM-5: norm and rotation are fused
        both = "self_attn.indexer.wk_weights_proj"
        yield linear(subject, both, indexer.head_dim + indexer.heads, hidden, scheme="none")
    else:
        yield linear(subject, "self_attn.indexer.wk", indexer.head_dim, hidden)
        yield layer_norm(subject, "self_attn.indexer.k_norm", indexer.head_dim)
        weights = "self_attn.indexer.weights_proj"
        yield linear(subject, weights, indexer.heads, hidden, scheme="none", output="float32")
        sizes = (indexer.heads, 1, rotary, rotary)
        yield rope(subject, "self_attn.indexer.rotary_emb", *sizes, neox=True)
    yield call(
        ops.INDEXER,
        "self_attn.indexer",
        {"x": contiguous((TOKENS, hidden), subject.dtype)},
        {"num_heads": indexer.heads, "head_dim": indexer.head_dim, "topk": indexer.top_k},
        (contiguous((TOKENS, indexer.top_k), "int32"),),
    )
