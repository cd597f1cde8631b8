"""What a call computes beyond its template's words: each difference has a suffix and a reference.

One name never means two functions: non-causal attention, a sliding window, a soft cap, another
epsilon, another filter order or memory layout is part of what a kernel computes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Evidence
from kerneldefs.definition.source import constants


@dataclasses.dataclass(frozen=True)
class Variant:
    """One difference from the template: in the name, in the description, in the reference."""

    suffix: str
    sentence: str
    constants: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reference: str | None = None  # of ours; None where the template's own can express it


@dataclasses.dataclass(frozen=True)
class Attention:
    """An attention template: whether its reference is causal, and ours that can be told."""

    causal: bool | None  # None where each request has one query
    reference: str
    order: tuple[str, ...]  # the inputs that ours takes


_PAGED = ("q", "k_cache", "v_cache")
ATTENTION: dict[str, Attention] = {
    "gqa_paged_decode": Attention(
        None, "gqa_paged_decode", (*_PAGED, "kv_indptr", "kv_indices", "sm_scale")
    ),
    "gqa_paged_prefill": Attention(
        True, "gqa_paged_prefill", (*_PAGED, "qo_indptr", "kv_indptr", "kv_indices", "sm_scale")
    ),
    "gqa_ragged": Attention(
        True, "gqa_ragged_prefill", ("q", "k", "v", "qo_indptr", "kv_indptr", "sm_scale")
    ),
}
# Wrapper attributes that no template of ours expresses for these prefixes.
FIXED_ATTENTION = {
    "mla_ragged_prefill_causal": True,
    "mla_ragged_prefill_noncausal": False,
    "mla_paged_decode": None,
    "mla_paged_prefill_causal": True,
}


def attention(evidence: Evidence) -> list[Variant]:
    """Causal mask, sliding window and soft cap, as run() read them (plan() may say otherwise)."""
    state, row = evidence.call.state, ATTENTION.get(evidence.prefix)
    window, cap = state.get("window_left", -1), state.get("logits_soft_cap") or 0.0
    if row is None:
        if evidence.prefix in FIXED_ATTENTION and (window not in (None, -1) or cap):
            raise Quarantine(
                "variant", f"{evidence.prefix} was called with window {window}, soft cap {cap}"
            )
        return []
    found = []
    if row.causal is not None:
        causal = state.get("causal", (evidence.call.plan or {}).get("causal"))
        if not isinstance(causal, bool):
            raise Quarantine("no-evidence", f"{evidence.call.op} gave no causal flag")
        if causal != row.causal:
            found.append(
                Variant("noncausal", "Non-causal: every query sees every key.", {"CAUSAL": False})
            )
    if window is not None and window >= 0:
        sentence = f"Sliding window: a query sees the {window} keys before its own position."
        found.append(Variant(f"win{window}", sentence, {"WINDOW_LEFT": window}))
    if cap:
        sentence = f"Logits are soft-capped: {cap:g} * tanh(logits / {cap:g})."
        found.append(Variant(f"cap{number(cap)}", sentence, {"SOFT_CAP": float(cap)}))
    return [dataclasses.replace(variant, reference=row.reference) for variant in found]


def filter_order(evidence: Evidence) -> list[Variant]:
    """Joint top-k and top-p filtering: each looks at the probabilities as given."""
    order = evidence.scalar("filter_apply_order")
    if order in (None, "top_k_first"):
        return []
    if order != "joint" or evidence.prefix != "top_k_top_p_sampling":
        raise Quarantine("variant", f"{evidence.prefix} knows no filter_apply_order {order!r}")
    sentence = "Joint order: both filters look at the probabilities as given."
    return [Variant("joint", sentence, {}, "top_k_top_p_joint_sampling")]


def layout(evidence: Evidence) -> list[Variant]:
    """A KV cache whose axes are in another order than the template's."""
    changed = [key for key in evidence.dims if evidence.dims[key] != _declared(evidence, key)]
    if not changed:
        return []
    dims = evidence.dims[changed[0]]
    heads_first = dims.index("num_kv_heads") < dims.index("page_size")
    name = "HND" if heads_first else "NHD"
    return [Variant(name.lower(), f"The KV cache is in {name} layout.")]


def _declared(evidence: Evidence, key: str) -> tuple[str, ...] | None:
    return evidence.template.inputs[key].dims


@dataclasses.dataclass(frozen=True)
class Flag:
    """A Python flag that the reference takes: what the name says where it is not the usual value.

    `usual` is the setting that the template's name stands for (flashinfer/trace/templates/, 0.6.18:
    the default of the reference, or what its description says).
    """

    usual: bool
    suffix: str
    sentence: str


_CAUSAL = Flag(False, "causal", "Causal: the last query stands at the last key.")
_NONCAUSAL = Flag(True, "noncausal", "Non-causal: every query sees every key.")
_INTERLEAVED = Flag(True, "interleaved", "Rotary pairs are neighbours, not halves.")
FLAGS: dict[str, dict[str, Flag]] = {
    "cudnn_batch_prefill": {"causal": _NONCAUSAL},
    "fmha_v2_prefill_sm120": {"causal": _NONCAUSAL},
    "mla_rope_quantize_fp8": {"is_neox": _INTERLEAVED},
    "msa_sparse_attention": {"causal": _CAUSAL},
    "rope_quantize_fp8": {"is_neox": _INTERLEAVED},
    "rope_quantize_fp8_append_paged_kv_cache": {"is_neox": _INTERLEAVED},
    "single_prefill": {"causal": _CAUSAL},
}


def flags(evidence: Evidence) -> list[Variant]:
    """Flags that the reference takes itself, so that only name and description must tell them."""
    found = []
    for name, flag in FLAGS.get(evidence.prefix, {}).items():
        value = evidence.scalar(name)
        if not isinstance(value, bool):
            raise Quarantine("no-evidence", f"{evidence.call.op} gave no flag {name}")
        if value != flag.usual:
            found.append(Variant(flag.suffix, flag.sentence))
    return found


def state_layout(evidence: Evidence) -> list[Variant]:
    """A gated delta rule whose state is [K, V], where the template's is [V, K]."""
    if evidence.prefix != "gdn_decode" or evidence.api != "gated_delta_rule_decode":
        return []
    return [Variant("kv", "The state is [K, V].", {}, "gdn_decode_kv")]


def named(evidence: Evidence) -> frozenset[str]:
    """Return the arguments whose value a flag's variant names."""
    return frozenset(FLAGS.get(evidence.prefix, {}))


FAMILIES: tuple[Callable[[Evidence], list[Variant]], ...] = (
    attention,
    filter_order,
    layout,
    flags,
    state_layout,
)


def variants(evidence: Evidence) -> list[Variant]:
    """Return every difference of a call from its template, epsilon apart, in a fixed order."""
    return [variant for family in FAMILIES for variant in family(evidence)]


EPSILON = "EPS"  # the constant in FlashInfer's norm references


def epsilon(evidence: Evidence, reference: str) -> float | None:
    """Return the call's epsilon if it differs from the one that the reference fixes.

    The description may have been changed already, so only the reference's constant is compared.
    """
    fixed = constants(reference, EPSILON)
    if not fixed:
        return None
    value = evidence.scalar("eps")
    if value is None:
        value = evidence.scalar("rms_eps")
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise Quarantine(
            "no-evidence", f"the reference fixes epsilon at {fixed[0]} and the call has none"
        )
    return float(value) if fixed != (float(value),) else None


# Epsilon of FlashInfer's norm templates: what a name without suffix means.
TEMPLATE_EPSILON = 1e-6


def epsilon_suffix(reference: str) -> str | None:
    """Return the name's suffix for a reference's epsilon; None for the template's own."""
    fixed = constants(reference, EPSILON)
    if not fixed or fixed == (TEMPLATE_EPSILON,):
        return None
    value = fixed[0]
    if len(fixed) != 1 or not isinstance(value, float) or not math.isfinite(value) or value <= 0:
        raise Quarantine("reference-epsilon", f"the reference has the epsilons {list(fixed)}")
    return f"eps{number(value)}"


def number(value: float) -> str:
    """Return a number as names have it: 50, 0.5, 1e-5."""
    text = f"{value:g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text
