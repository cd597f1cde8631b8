"""The blocks of a decoder layer, each with the calls that it makes on one rank."""

from __future__ import annotations

from collections.abc import Iterator

from kerneldefs.capture.observe import ops
from kerneldefs.capture.observe.ops import contiguous
from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.predict.attention import grouped_attention, latent_attention
from kerneldefs.derive.predict.calls import (
    DECODE,
    EXTEND,
    REQUESTS,
    TOKENS,
    Subject,
    call,
    linear,
    norms,
)
from kerneldefs.derive.predict.experts import (
    SHARED,
    activates_in_product,
    activations,
    fused_shared_width,
    gates_shared_expert,
    is_shared,
    padded,
    routing,
)
from kerneldefs.derive.predict.formats import EXPERTS


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
        if width == fused_shared_width(subject):
            continue
        shared = is_shared(subject, width) and width != _plain_width(subject)
        block, whole = SHARED if shared else "mlp", activates_in_product(subject, width)
        yield linear(subject, f"{block}.down_proj", hidden, width, packed=whole)
        if whole:
            x = contiguous((TOKENS, hidden), subject.dtype)
            weight = contiguous((2 * width, hidden // 2), "uint8")
            tensors = {"x": x, "weight": weight}
            yield call(ops.GATED_PRODUCT, f"{block}.gate_up_proj", tensors, {})
            continue
        yield linear(subject, f"{block}.gate_up_proj", 2 * width, hidden, shards=(width, width))
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
    how = routing(subject)
    deepseek = how in ("ds", "sigmoid_renorm")
    output = "float32" if deepseek and subject.kind != "kimi_linear" else subject.dtype
    biased = subject.kind == "gpt_oss"
    sizes = (moe.experts, moe.hidden)
    yield linear(subject, "mlp.gate", *sizes, scheme="none", output=output, bias=biased)
    hidden, width = padded(subject, moe.hidden, moe.intermediate)
    tensors = {"hidden_states": contiguous((TOKENS, moe.hidden), subject.dtype)}
    if deepseek:
        tensors["correction_bias"] = contiguous((moe.experts,), "float32")
    yield call(
        ops.FUSED_MOE,
        "mlp.experts",
        tensors,
        {
            "quantization": subject.scheme_of(EXPERTS),
            "activations": activations(subject),
            "biased": biased,
            "num_experts": moe.experts,
            "num_local_experts": moe.local_experts,
            "top_k": moe.top_k,
            "hidden_size": hidden,
            "intermediate_size": width,
            "routing": how,
            "n_group": moe.groups,
            "topk_group": moe.topk_groups,
            "activation": "relu2" if subject.kind == "nemotron_h" else "silu",
            "gated": subject.kind != "nemotron_h",
            "clamp": data.get("swiglu_limit"),
            "alpha": data.get("swiglu_alpha") or (1.702 if biased else None),
            "routed_scaling_factor": data.get("routed_scaling_factor"),
        },
        (contiguous((TOKENS, moe.hidden), subject.dtype),),
    )
    if gates_shared_expert(subject):
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
        logits = {"logits": contiguous((REQUESTS, sizes.vocab), "float32")}
        for min_p in (False, True):
            flags = {"is_all_greedy": False, "need_min_p_sampling": min_p}
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
