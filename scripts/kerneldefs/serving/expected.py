"""The sizes that config.json and a serving config predict for the kernels of one rank.

Formulas only, and for every family that names its sizes as one of the published configs does. They
are what SGLang's layers compute when they are built (srt/models, srt/layers of sglang 0.5.21):
attention divides by attn_tp = tp / dp under DP attention, experts by ep, their width by tp / ep,
everything else by tp. A part that a model does not have is None or empty, never guessed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.modelconfig import ModelConfig
from kerneldefs.serving.ranksizes import (
    Attention,
    Experts,
    Indexer,
    LatentAttention,
    LinearAttention,
    Mamba,
    RankSizes,
    round_up,
)

VOCABULARY_PADDING = 64  # rows of the embedding; srt/layers/vocab_parallel_embedding
# Token exchanges that make every rank hold whole experts, so that ep = tp whatever is asked for.
_WHOLE_EXPERTS = frozenset({"deepep", "mooncake", "mori", "ascend_fuseep"})
_TOP_K = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "top_k_experts",
    "moe_top_k",
    "moe_topk",
    "moe_k",
)
_SHARED_WIDTH = (
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "shared_intermediate_size",
    "share_expert_dim",
)


def expected(model: ModelConfig, config: ServingConfig) -> RankSizes:
    """Return what a model's config.json predicts for one rank of a serving config."""
    data = model.language
    attn_tp = max(1, config.tp // config.dp) if config.enable_dp_attention else config.tp
    whole = config.arguments.get("moe_a2a_backend") in _WHOLE_EXPERTS
    ep = config.tp if whole else config.ep
    dense_tp = config.arguments.get("moe_dense_tp_size") or config.tp
    head_tp = attn_tp if config.arguments.get("enable_dp_lm_head") else config.tp
    vocab = _number(data, "vocab_size")
    rows = None if vocab is None else round_up(vocab, VOCABULARY_PADDING) // head_tp
    return RankSizes(
        attn_tp=attn_tp,
        dense_tp=dense_tp,
        moe_tp=max(1, config.tp // ep),
        moe_ep=ep,
        hidden=_number(data, "hidden_size"),
        vocab=vocab,
        vocab_per_rank=rows,
        intermediate=_dense(data, model.experts, dense_tp),
        attention=_attention(data, attn_tp),
        latent=_latent(data, attn_tp),
        indexer=_indexer(data),
        experts=_experts(data, model, config, ep),
        linear=_linear(data, attn_tp),
        mamba=_mamba(data, attn_tp),
    )


def _attention(data: Mapping[str, Any], tp: int) -> tuple[Attention, ...]:
    """The kinds of attention layers on one rank, the main one first."""
    heads = _number(data, "num_attention_heads")
    if not heads or _number(data, "kv_lora_rank"):
        return ()
    dim = _number(data, "head_dim") or (_number(data, "hidden_size") or 0) // heads
    v_dim = _number(data, "v_head_dim") or dim
    kv_heads = _number(data, "num_key_value_heads")
    if kv_heads is None:  # searched architectures have a ratio per layer, others none
        kinds = [Attention(heads, heads // ratio, dim, v_dim) for ratio in _ratios(data) or [1]]
    else:
        kinds = _with_windows(data, Attention(heads, kv_heads, dim, v_dim))
    shares = (
        dataclasses.replace(
            kind, qo_heads=_share(kind.qo_heads, tp), kv_heads=_share(kind.kv_heads, tp)
        )
        for kind in kinds
    )
    return tuple(dict.fromkeys(shares))


def _with_windows(data: Mapping[str, Any], plain: Attention) -> list[Attention]:
    """A model's kinds of attention, of which `plain` has the plain keys' sizes."""
    window = _number(data, "sliding_window") if data.get("use_sliding_window", True) else None
    global_dim = _number(data, "global_head_dim")
    if global_dim:  # Gemma 4, where the plain keys are the sliding layers'
        kv_heads = _number(data, "num_global_key_value_heads") or plain.kv_heads
        whole = Attention(plain.qo_heads, kv_heads, global_dim, global_dim)
        return [whole, dataclasses.replace(plain, window=window)]
    if window is None:
        return [plain]
    types = data.get("layer_types")
    full = not isinstance(types, list) or not types or "full_attention" in types
    return [*([plain] if full else []), _sliding(data, plain, window)]


def _sliding(data: Mapping[str, Any], plain: Attention, window: int) -> Attention:
    """The sliding layers' sizes: MiMo-V2's swa_ keys, Step's attention_other_setting."""
    other = data.get("attention_other_setting")
    other = other if isinstance(other, dict) else {}
    dim = _number(data, "swa_head_dim") or _number(other, "head_dim") or plain.head_dim
    return Attention(
        _number(data, "swa_num_attention_heads")
        or _number(other, "num_attention_heads")
        or plain.qo_heads,
        _number(data, "swa_num_key_value_heads")
        or _number(other, "num_attention_groups", "num_key_value_heads")
        or plain.kv_heads,
        dim,
        _number(data, "swa_v_head_dim") or (plain.v_head_dim if dim == plain.head_dim else dim),
        window,
    )


def _ratios(data: Mapping[str, Any]) -> list[int]:
    """Query heads per KV head of the layers that Nemotron's block_configs list."""
    blocks = data.get("block_configs") or ()
    parts = [block.get("attention") for block in blocks if isinstance(block, dict)]
    found = {_number(part, "n_heads_in_group") for part in parts if isinstance(part, dict)}
    return sorted(ratio for ratio in found if ratio)


def _latent(data: Mapping[str, Any], tp: int) -> LatentAttention | None:
    heads, ckv = _number(data, "num_attention_heads"), _number(data, "kv_lora_rank")
    kpe, nope = _number(data, "qk_rope_head_dim"), _number(data, "qk_nope_head_dim")
    vo = _number(data, "v_head_dim")
    if not (heads and ckv and kpe and nope and vo):
        return None
    return LatentAttention(_share(heads, tp), _number(data, "q_lora_rank"), ckv, kpe, nope, vo)


def _indexer(data: Mapping[str, Any]) -> Indexer | None:
    heads, dim = _number(data, "index_n_heads"), _number(data, "index_head_dim")
    top_k = _number(data, "index_topk")
    return Indexer(heads, dim, top_k) if heads and dim and top_k else None


def _experts(
    data: Mapping[str, Any], model: ModelConfig, config: ServingConfig, ep: int
) -> Experts | None:
    count, hidden = model.experts, _number(data, "hidden_size")
    if not count or not hidden:
        return None
    redundant = config.arguments.get("ep_num_redundant_experts") or 0
    width = _expert_width(data)
    return Experts(
        experts=count,
        local_experts=(count + redundant) // ep,
        top_k=_number(data, *_TOP_K),
        groups=_number(data, "n_group", "num_expert_group"),
        topk_groups=_number(data, "topk_group"),
        hidden=_number(data, "routed_expert_hidden_size", "moe_latent_size") or hidden,
        intermediate=width and width // max(1, config.tp // ep),
        shared=_number(data, "n_shared_experts", "num_shared_experts") or 0,
        redundant=redundant,
        quantized=config.quantization != "none",
    )


def _expert_width(data: Mapping[str, Any]) -> int | None:
    return _number(data, "moe_intermediate_size", "moe_ffn_hidden_size", "intermediate_size")


def _dense(data: Mapping[str, Any], experts: int | None, tp: int) -> tuple[int, ...]:
    """Widths of the dense MLPs and of the shared experts, which SGLang makes one MLP."""
    apart = _number(data, "dense_intermediate_size", "intermediate_size_mlp")
    plain = _number(data, "intermediate_size")
    if experts and apart is None and _number(data, "moe_intermediate_size") is None:
        plain = None  # it is the experts' width, as in Mixtral
    elif apart is not None:
        plain = apart
    shared = _number(data, *_SHARED_WIDTH)
    count = _number(data, "n_shared_experts", "num_shared_experts")
    if experts and shared is None and count:
        shared = (_expert_width(data) or 0) * count
    elif experts and shared is None and "intermediate_size_mlp" in data:
        shared = _expert_width(data)  # Llama 4 has one shared expert and no key for it
    return tuple(dict.fromkeys(width // tp for width in (plain, shared) if width))


def _linear(data: Mapping[str, Any], tp: int) -> LinearAttention | None:
    kimi = data.get("linear_attn_config")
    if isinstance(kimi, dict):  # Kimi delta attention: keys and values alike
        heads, dim = _number(kimi, "num_heads"), _number(kimi, "head_dim")
        sizes = (heads, heads, dim, dim)
    else:
        k_heads, v_heads = (_number(data, f"linear_num_{of}_heads") for of in ("key", "value"))
        k_dim, v_dim = (_number(data, f"linear_{of}_head_dim") for of in ("key", "value"))
        sizes = (k_heads, v_heads, k_dim, v_dim)
    k_heads, v_heads, k_dim, v_dim = sizes
    if not (k_heads and v_heads and k_dim and v_dim):
        return None
    return LinearAttention(_share(k_heads, tp), _share(v_heads, tp), k_dim, v_dim)


def _mamba(data: Mapping[str, Any], tp: int) -> Mamba | None:
    heads = _number(data, "mamba_num_heads", "mamba_n_heads")
    dim = _number(data, "mamba_head_dim", "mamba_d_head")
    state = _number(data, "ssm_state_size", "mamba_d_state")
    groups = _number(data, "n_groups", "mamba_n_groups")
    if not (heads and dim and state and groups):
        return None
    # Groups that tp does not divide are repeated until it does (configs/mamba_utils).
    return Mamba(_share(heads, tp), dim, state, max(1, -(-groups // tp)))


def _number(data: Mapping[str, Any], *keys: str) -> int | None:
    """Return the first positive whole number among the keys; None without one."""
    for key in keys:
        value = data.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _share(count: int, ranks: int) -> int:
    """Heads per rank: with fewer heads than ranks each rank holds one."""
    return max(1, count // ranks)
