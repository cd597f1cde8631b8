"""Attention whose offsets plan() takes and FlashInfer's templates do not declare."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Evidence, Received, View
from kerneldefs.definition.own import OwnTemplate, Retarget
from kerneldefs.definition.templates.planned import (
    BATCH,
    BATCH_POD,
    CASCADE,
    LEVELS,
    PACKED,
    POD,
    RAGGED,
)
from kerneldefs.definition.views import argument, paged_cache, plan_of, planned, size, split_cache

_ATTENTION = "flashinfer/trace/templates/attention.py (0.6.18)"


def causal_or_not(template: OwnTemplate, name: str = "causal") -> Callable[[Evidence], OwnTemplate]:
    """Return a choice of a template or of its non-causal twin, by a flag of plan() or run()."""
    full = dataclasses.replace(
        template,
        name_prefix=template.name_prefix.replace("_causal", "_noncausal"),
        description=f"{template.description} Non-causal: every query sees every key.".replace(
            "causal ", "", 1
        ).replace("Causal prefill", "Prefill"),
        constants={"CAUSAL": False},
    )

    def choose(evidence: Evidence) -> OwnTemplate:
        causal = (evidence.call.plan or {}).get(name, evidence.scalar(name))
        if not isinstance(causal, bool):
            raise Quarantine("no-evidence", f"{evidence.call.op} gave no {name}")
        return template if causal else full

    return choose


def plain(call: KernelCall, dim: int) -> Received:
    """Return the factor of the logits of a plan without window, cap or positions of its own."""
    plan = plan_of(call)
    window, cap = plan.get("window_left", -1), plan.get("logits_soft_cap")
    if window not in (None, -1) or cap or plan.get("pos_encoding_mode", "NONE") != "NONE":
        raise Quarantine("variant", f"{call.op} was planned with a window, a cap or positions")
    scale = plan.get("sm_scale")
    return Received(value=float(scale) if isinstance(scale, float) else 1.0 / math.sqrt(dim))


def caches(call: KernelCall, name: str, keys: tuple[str, str]) -> dict[str, Received]:
    """Return K and V of a paged cache in the layout that the templates declare."""
    dim = size(call, "head_dim_qk", "head_dim")
    sizes = (size(call, "page_size"), size(call, "num_kv_heads"), dim)
    found = {}
    for key, cache in zip(keys, split_cache(call, name), strict=True):
        seen, layout = paged_cache(call, cache, *sizes, call.state.get("kv_layout"))
        if layout != "NHD":
            raise Quarantine("kv-layout", f"{name} of {call.op} is in {layout}")
        found[key] = Received(tensor=seen)
    return found


def _planned(call: KernelCall, names: Mapping[str, str]) -> dict[str, Received]:
    return {key: planned(call, name) for key, name in names.items()}


def _batch(evidence: Evidence) -> View:
    call = evidence.call
    received = caches(call, "kv_cache", ("k_cache", "v_cache"))
    names = {"kv_len": "kv_len_arr"} | {n: n for n in ("qo_indptr", "kv_indptr", "kv_indices")}
    received |= _planned(call, names)
    received["sm_scale"] = plain(call, argument(call, "q").shape[-1])
    return View(received, {}, frozenset({"kv_cache", "causal"}))


def _ragged(evidence: Evidence) -> View:
    call = evidence.call
    received = _planned(call, {"qo_indptr": "qo_indptr", "kv_indptr": "kv_indptr"})
    received["sm_scale"] = plain(call, argument(call, "q").shape[-1])
    return View(received)


def _cascade(evidence: Evidence) -> View:
    call = evidence.call
    if planned(call, "qo_indptr_arr#2").tensor is not None:
        raise Quarantine("argument-not-modelled", "there are more than two levels")
    names = {
        f"{key}_{n}": f"{name}#{n}"
        for n in LEVELS
        for key, name in (
            ("qo_indptr", "qo_indptr_arr"),
            ("kv_indptr", "paged_kv_indptr_arr"),
            ("kv_indices", "paged_kv_indices_arr"),
            ("kv_last_page_len", "paged_kv_last_page_len"),
        )
    }
    return View(_planned(call, names) | {"sm_scale": plain(call, size(call, "head_dim"))})


def _pod(evidence: Evidence) -> View:
    call = evidence.call
    received = caches(call, "paged_kv_cache_d", ("k_cache_d", "v_cache_d"))
    names = {"kv_indptr_d": "indptr", "kv_indices_d": "indices"}
    received |= _planned(call, {**names, "kv_last_page_len_d": "last_page_len"})
    received["sm_scale"] = plain(call, size(call, "head_dim"))
    return View(received, {}, frozenset({"paged_kv_cache_d", "causal_p"}))


def _batch_pod(evidence: Evidence) -> View:
    call = evidence.call
    received = caches(call, "paged_kv_cache_d", ("k_cache_d", "v_cache_d"))
    received |= caches(call, "paged_kv_cache_p", ("k_cache_p", "v_cache_p"))
    offsets = ("qo_indptr_p", "kv_indptr_p", "kv_indices_p", "kv_indptr_d", "kv_indices_d")
    last = {f"kv_last_page_len_{side}": f"last_page_len_{side}" for side in "pd"}
    received |= _planned(call, {name: name for name in offsets} | last)
    received["sm_scale"] = plain(call, size(call, "head_dim"))
    known = {"paged_kv_cache_d", "paged_kv_cache_p", "causal_p"}
    return View(received, {}, frozenset(known))


def _packed(evidence: Evidence) -> OwnTemplate:
    layout, mask = evidence.scalar("input_layout"), evidence.scalar("mask_mode")
    if layout != "PACKED_QKV" or mask != "causal":
        raise Quarantine("argument-not-modelled", f"the input is {layout}, the mask {mask}")
    return PACKED


_ALL_KEYS = "attends to the whole cache, which offsets of plan() tell apart"
ROWS: dict[str, Retarget] = {
    "BatchAttention.run": Retarget(f"{_ATTENTION}: {_ALL_KEYS}", causal_or_not(BATCH), _batch, "q"),
    "BatchPrefillCuteDSLWrapper.run": Retarget(
        f"{_ATTENTION}: takes all requests for one, always causal",
        causal_or_not(RAGGED),
        _ragged,
        "q",
    ),
    "MultiLevelCascadeAttentionWrapper.run": Retarget(
        f"flashinfer/trace/templates/cascade.py (0.6.18): {_ALL_KEYS}",
        lambda e: CASCADE if plan_of(e.call).get("causal") is False else None,
        _cascade,
        "q",
    ),
    "PODWithPagedKVCacheWrapper.run": Retarget(
        f"{_ATTENTION}: {_ALL_KEYS}", causal_or_not(POD, "causal_p"), _pod, "q_p"
    ),
    "BatchPODWithPagedKVCacheWrapper.run": Retarget(
        f"{_ATTENTION}: {_ALL_KEYS}", causal_or_not(BATCH_POD, "causal_p"), _batch_pod, "q_p"
    ),
    "trtllm_fmha_v2_prefill": Retarget(
        f"{_ATTENTION}: declares queries, keys and values as one tensor of one head each",
        _packed,
        lambda e: View(
            understood=frozenset(
                {"input_layout", "mask_mode", "seq_lens", "cum_seq_lens_kv", "batch_size"}
            )
        ),
        "qkv",
    ),
}
