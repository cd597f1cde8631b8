"""The blocks of a decoder layer, each with the calls that it makes on one rank."""

from __future__ import annotations

from collections.abc import Iterator

from kerneldefs.capture.observe import ops
from kerneldefs.capture.observe.ops import contiguous
from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.predict.calls import (
    DECODE,
    EXTEND,
    REQUESTS,
    TOKENS,
    Subject,
    attention,
    call,
    linear,
    norms,
    rope,
)

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
        if subject.kind.startswith(_QK_NORMS):
            yield norms(subject, "self_attn.q_norm", kind.head_dim, fused=False)
        if subject.kind != "nemotron_h":  # whose attention layers know no positions
            rotary = int(kind.head_dim * _partial(subject))
            count = (kind.qo_heads, kind.kv_heads)
            yield rope(subject, "self_attn.rotary_emb", *count, kind.head_dim, rotary, neox=True)
        yield from attention(
            subject,
            "self_attn.attn",
            heads=kind.qo_heads,
            kv=kind.kv_heads,
            qk=kind.head_dim,
            vo=kind.v_head_dim,
            window_left=-1 if kind.window is None else kind.window - 1,
            soft_cap=float(data.get("attn_logit_softcapping") or 0.0),
            sinks=subject.kind == "gpt_oss",
        )


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
    sparse = subject.sizes.indexer.top_k if subject.sizes.indexer else None
    heads = {"heads": latent.heads, "kv": 1, "qk": cached, "vo": latent.ckv}
    scale = {"scale": latent.qk**-0.5, "sparse_topk": sparse}
    modes = ((DECODE, False), (EXTEND, True))
    yield from attention(subject, "self_attn.attn_mqa", **heads, **scale, modes=modes)
    # Sparse models too: a prompt that has no more tokens than are chosen needs no choice.
    heads = {"heads": latent.heads, "kv": latent.heads, "qk": latent.qk, "vo": latent.vo}
    yield from attention(subject, "self_attn.attn_mha", **heads, modes=((EXTEND, False),))


def _sparse_indexer(subject: Subject, rotary: int) -> Iterator[KernelCall]:
    """The indexer of sparse attention, whole on every rank: two projections, rotation, choice."""
    indexer, latent, hidden = subject.sizes.indexer, subject.sizes.latent, subject.sizes.hidden
    if indexer is None or latent is None or not latent.q_lora_rank or not hidden:
        return
    width = indexer.heads * indexer.head_dim
    yield linear(subject, "self_attn.indexer.wq_b", width, latent.q_lora_rank)
    yield linear(subject, "self_attn.indexer.wk", indexer.head_dim, hidden)
    sizes = (indexer.heads, 1, rotary, rotary)
    yield rope(subject, "self_attn.indexer.rotary_emb", *sizes, neox=True)
    yield call(
        ops.INDEXER,
        "self_attn.indexer",
        {"x": contiguous((TOKENS, hidden), subject.dtype)},
        {"num_heads": indexer.heads, "head_dim": indexer.head_dim, "topk": indexer.top_k},
    )


def dense(subject: Subject) -> Iterator[KernelCall]:
    """Gated MLPs: of dense layers, and of experts that all tokens share."""
    hidden = subject.sizes.hidden or 0
    if subject.kind == "nemotron_h":  # squared ReLU, no gate
        for width in subject.sizes.intermediate:
            if subject.sizes.experts and width == _plain_width(subject):
                continue  # of plain MLP layers, which a model with experts has none of
            yield linear(subject, "mlp.up_proj", width, hidden)
            yield linear(subject, "mlp.down_proj", hidden, width)
        return
    for width in subject.sizes.intermediate:
        if subject.sizes.experts and _all_sparse(subject) and width == _plain_width(subject):
            continue  # a width that config.json names and no layer has
        yield linear(subject, "mlp.gate_up_proj", 2 * width, hidden, shards=(width, width))
        yield linear(subject, "mlp.down_proj", hidden, width)
        yield call(
            ops.ACTIVATION,
            "mlp.act_fn",
            {"x": contiguous((TOKENS, 2 * width), subject.dtype)},
            {"function": _gated(subject), "limit": None},
        )


def _all_sparse(subject: Subject) -> bool:
    """Whether every layer has experts, so that `intermediate_size` is nobody's."""
    data = subject.data
    sparse = data.get("first_k_dense_replace") in (None, 0) and not data.get("mlp_only_layers")
    return sparse and data.get("decoder_sparse_step", 1) == 1 and "moe_intermediate_size" in data


def _plain_width(subject: Subject) -> int:
    return int(subject.data.get("intermediate_size") or 0) // subject.sizes.dense_tp


def _gated(subject: Subject) -> str:
    act = str(subject.data.get("hidden_act") or subject.data.get("hidden_activation") or "silu")
    return {
        "silu": "silu_and_mul",
        "gelu": "gelu_and_mul",
        "gelu_pytorch_tanh": "gelu_tanh_and_mul",
    }.get(act, act)


def experts(subject: Subject) -> Iterator[KernelCall]:
    """The router and the experts of one rank."""
    moe, data = subject.sizes.experts, subject.data
    if moe is None or moe.top_k is None or moe.intermediate is None:
        return
    deepseek = data.get("topk_method") == "noaux_tc" or data.get("scoring_func") == "sigmoid"
    deepseek = deepseek or data.get("moe_router_activation_func") == "sigmoid"
    deepseek = deepseek or subject.kind == "nemotron_h"
    output = "float32" if deepseek and subject.kind != "kimi_linear" else subject.dtype
    biased = subject.kind == "gpt_oss"
    sizes = (moe.experts, moe.hidden)
    yield linear(subject, "mlp.gate", *sizes, scheme="none", output=output, bias=biased)
    naive = subject.kind.startswith(("qwen3_next", "qwen3_5"))
    routing = "ds" if deepseek else "renormalize_naive" if naive else "renormalize"
    if not deepseek and data.get("norm_topk_prob") is False:
        routing = "default"
    tensors = {"hidden_states": contiguous((TOKENS, moe.hidden), subject.dtype)}
    if deepseek:
        tensors["correction_bias"] = contiguous((moe.experts,), "float32")
    yield call(
        ops.FUSED_MOE,
        "mlp.experts",
        tensors,
        {
            "quantization": subject.scheme,
            "num_experts": moe.experts,
            "num_local_experts": moe.local_experts,
            "top_k": moe.top_k,
            "hidden_size": moe.hidden,
            "intermediate_size": moe.intermediate,
            "routing": routing,
            "n_group": moe.groups,
            "topk_group": moe.topk_groups,
            "activation": "relu2" if subject.kind == "nemotron_h" else "silu",
            "gated": subject.kind != "nemotron_h",
            "clamp": data.get("swiglu_limit"),
            "alpha": None,
            "routed_scaling_factor": data.get("routed_scaling_factor"),
        },
    )
    if data.get("shared_expert_intermediate_size"):  # Qwen's shared expert has a gate of one row
        yield linear(subject, "mlp.shared_expert_gate", 1, moe.hidden, scheme="none")


def linear_attention(subject: Subject) -> Iterator[KernelCall]:
    """A gated delta net: two projections in, the rule, a gated norm and one out."""
    rule, hidden = subject.sizes.linear, subject.sizes.hidden or 0
    if rule is None:
        return
    keys, values = rule.k_heads * rule.k_dim, rule.v_heads * rule.v_dim
    kimi = isinstance(subject.data.get("linear_attn_config"), dict)
    if kimi:  # q, k, v, update gates, and on every rank the narrow halves of two gates
        width = 2 * keys + values + rule.v_heads + 2 * rule.k_dim
        yield linear(subject, "self_attn.fused_qkvbfg_a_proj", width, hidden)
        yield call(
            ops.MATMUL,
            "self_attn.fused_fg_b_proj",
            {
                "x": contiguous((2, TOKENS, rule.k_dim), subject.dtype),
                "weight": contiguous((2, rule.k_dim, values), subject.dtype),
            },
            {"operator": "aten::bmm", "weight_name": "fused_fg_b_proj"},
            (contiguous((2, TOKENS, values), subject.dtype),),
        )
    else:
        yield linear(subject, "linear_attn.in_proj_qkvz", 2 * keys + 2 * values, hidden)
        yield linear(subject, "linear_attn.in_proj_ba", 2 * rule.v_heads, hidden)
    yield linear(subject, "linear_attn.out_proj", hidden, values)
    for mode in (DECODE, EXTEND):
        yield call(
            ops.LINEAR_ATTENTION,
            "linear_attn.attn",
            {"dt_bias": contiguous((rule.v_heads,), subject.dtype)},
            {
                "rule": "kda" if kimi else "gdn",
                "num_q_heads": rule.k_heads,
                "num_k_heads": rule.k_heads,
                "num_v_heads": rule.v_heads,
                "head_k_dim": rule.k_dim,
                "head_v_dim": rule.v_dim,
                "mode": mode,
            },
        )


def mamba(subject: Subject) -> Iterator[KernelCall]:
    """A Mamba-2 mixer: one projection in, one step of the state, one out."""
    mixer, hidden = subject.sizes.mamba, subject.sizes.hidden or 0
    if mixer is None:
        return
    inner = mixer.heads * mixer.head_dim
    width = 2 * inner + 2 * mixer.groups * mixer.state + mixer.heads
    yield linear(subject, "mixer.in_proj", width, hidden)
    yield linear(subject, "mixer.out_proj", hidden, inner)
    heads, dim, size = mixer.heads, mixer.head_dim, mixer.state
    channels = {"A": (heads, dim, size), "D": (heads, dim), "dt_bias": (heads, dim)}
    groups = {name: (REQUESTS, mixer.groups, size) for name in ("B", "C")}
    rows = {name: (REQUESTS, heads, dim) for name in ("x", "dt")}
    tensors = {
        "state": contiguous((REQUESTS, heads, dim, size), "float32"),
        **{k: contiguous(v, subject.dtype) for k, v in {**rows, **groups}.items()},
        **{k: contiguous(v, "float32") for k, v in channels.items()},
    }
    yield call(ops.STATE_SPACE, "mixer", tensors, {"dt_softplus": True})


def ends(subject: Subject) -> Iterator[KernelCall]:
    """Norms of tokens, the output layer and the sampler."""
    sizes = subject.sizes
    if sizes.hidden:
        yield norms(subject, "input_layernorm", sizes.hidden, fused=False)
        yield norms(subject, "post_attention_layernorm", sizes.hidden, fused=True)
    if sizes.hidden and sizes.vocab_per_rank:
        yield linear(subject, "lm_head", sizes.vocab_per_rank, sizes.hidden, scheme="none")
    if sizes.vocab:
        flags = {"is_all_greedy": False}
        logits = {"logits": contiguous((REQUESTS, sizes.vocab), "float32")}
        yield call(ops.SAMPLER, "sampler", logits, flags)


BLOCKS = (
    grouped_attention,
    latent_attention,
    dense,
    experts,
    linear_attention,
    mamba,
    ends,
)
