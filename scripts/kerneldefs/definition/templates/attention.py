"""Attention whose offsets plan() takes and FlashInfer's templates do not declare."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Evidence, Received, View
from kerneldefs.definition.own import OwnTemplate, Retarget
from kerneldefs.definition.views import argument, paged_cache, plan_of, planned, size, split_cache

_ATTENTION = "flashinfer/trace/templates/attention.py (0.6.18)"
_HEADS: dict[str, tuple[str | None, str]] = {
    "num_qo_heads": ("h", "Number of query heads on one rank."),
    "num_kv_heads": ("kv", "Number of key and value heads on one rank."),
    "head_dim": ("d", "Width of a head."),
}
_PAGED: dict[str, tuple[str | None, str]] = {
    "page_size": ("ps", "Tokens per page."),
    "num_pages": (None, "Number of pages of the cache."),
    "len_indptr": (None, "Number of requests + 1."),
    "num_kv_indices": (None, "Number of pages of all requests."),
}
_CACHE = ("num_pages", "page_size", "num_kv_heads", "head_dim")
_OFFSETS = "Where each request's {} start; the last entry is their number."
_LAST = "Tokens of each request's last page."
_SCALE = (None, "Factor of the logits.")
_LSE = "Base-2 log-sum-exp of the logits."
_PAGES = "num_kv_indices == kv_indptr[-1].item()"
_STATUS = "status:unverified"

BATCH = OwnTemplate(
    op_type="gqa_paged",
    name_prefix="batch_attention_run_causal",
    description=(
        "Batched causal attention over a paged cache, prefill and decode in one. The last query "
        "of a request stands at its last key."
    ),
    tags=(_STATUS,),
    axes={
        **_HEADS,
        **_PAGED,
        "total_q": (None, "Number of query tokens of all requests."),
        "batch_size": (None, "Number of requests."),
    },
    inputs={
        "q": (("total_q", "num_qo_heads", "head_dim"), "Queries."),
        "k_cache": (_CACHE, "Keys."),
        "v_cache": (_CACHE, "Values."),
        "qo_indptr": (("len_indptr",), _OFFSETS.format("queries")),
        "kv_indptr": (("len_indptr",), _OFFSETS.format("pages")),
        "kv_indices": (("num_kv_indices",), "Pages of each request."),
        "kv_len": (("batch_size",), "Tokens of each request."),
        "sm_scale": _SCALE,
    },
    outputs={
        "output": (("total_q", "num_qo_heads", "head_dim"), None, "Attention output."),
        "lse": (("total_q", "num_qo_heads"), "float32", _LSE),
    },
    constraints=("len_indptr == batch_size + 1", "total_q == qo_indptr[-1].item()", _PAGES),
    reference="batch_attention_run",
)
RAGGED = OwnTemplate(
    op_type="gqa_ragged",
    name_prefix="cute_dsl_batch_prefill_run_causal",
    description=(
        "Batched causal prefill attention over contiguous keys and values. The last query of a "
        "request stands at its last key."
    ),
    tags=("backend:cute-dsl", "stage:prefill", _STATUS),
    axes={
        **_HEADS,
        "len_indptr": _PAGED["len_indptr"],
        "total_q": BATCH.axes["total_q"],
        "total_kv": (None, "Number of key tokens of all requests."),
    },
    inputs={
        "q": BATCH.inputs["q"],
        "k": (("total_kv", "num_kv_heads", "head_dim"), "Keys."),
        "v": (("total_kv", "num_kv_heads", "head_dim"), "Values."),
        "qo_indptr": BATCH.inputs["qo_indptr"],
        "kv_indptr": (("len_indptr",), _OFFSETS.format("keys")),
        "sm_scale": _SCALE,
    },
    outputs=BATCH.outputs,
    constraints=("total_q == qo_indptr[-1].item()", "total_kv == kv_indptr[-1].item()"),
    reference="gqa_ragged_prefill",
)
_LEVELS = {"0": "shared keys", "1": "own keys"}
CASCADE = OwnTemplate(
    op_type="cascade_attention",
    name_prefix="multi_level_cascade_run_noncausal",
    description=(
        "Attention over two levels of a paged cache: keys that requests share, then each "
        "request's own, as if they were one. Non-causal: every query sees every key."
    ),
    tags=(_STATUS,),
    axes={
        **_HEADS,
        "page_size": _PAGED["page_size"],
        "num_pages": _PAGED["num_pages"],
        "kv_cache_dim": ("", "Keys, then values."),
        "total_q": BATCH.axes["total_q"],
        **{f"len_indptr_{n}": (None, f"Parts of the {what} + 1.") for n, what in _LEVELS.items()},
        **{f"batch_size_{n}": (None, f"Parts of the {what}.") for n, what in _LEVELS.items()},
        **{f"num_kv_indices_{n}": (None, f"Pages of the {what}.") for n, what in _LEVELS.items()},
    },
    inputs={
        "q": BATCH.inputs["q"],
        "paged_kv_cache": (
            ("num_pages", "kv_cache_dim", "page_size", "num_kv_heads", "head_dim"),
            "Keys and values.",
        ),
        **{
            f"{name}_{n}": ((f"{axis}_{n}",), f"{text} Of the {what}.")
            for n, what in _LEVELS.items()
            for name, axis, text in (
                ("qo_indptr", "len_indptr", "Where the queries of each part start."),
                ("kv_indptr", "len_indptr", "Where the pages of each part start."),
                ("kv_indices", "num_kv_indices", "Pages."),
                ("kv_last_page_len", "batch_size", "Tokens of each part's last page."),
            )
        },
        "sm_scale": _SCALE,
    },
    outputs={"output": BATCH.outputs["output"]},
    constraints=tuple(
        text
        for n in _LEVELS
        for text in (
            f"len_indptr_{n} == batch_size_{n} + 1",
            f"total_q == qo_indptr_{n}[-1].item()",
            f"num_kv_indices_{n} == kv_indptr_{n}[-1].item()",
        )
    ),
    reference="multi_level_cascade_run",
    constants={"CAUSAL": False},
)
_DECODE: dict[str, tuple[tuple[str, ...], str]] = {
    "q_d": (("batch_size", "num_qo_heads", "head_dim"), "Queries of the decodes."),
    "k_cache_d": (_CACHE, "Their keys."),
    "v_cache_d": (_CACHE, "Their values."),
    "kv_indptr_d": (("len_indptr",), _OFFSETS.format("pages")),
    "kv_indices_d": (("num_kv_indices",), "Pages of each decode."),
    "kv_last_page_len_d": (("batch_size",), _LAST),
}
POD = OwnTemplate(
    op_type="pod",
    name_prefix="pod_run_causal",
    description="Causal prefill attention of one request, beside decodes over a paged cache.",
    tags=(_STATUS,),
    axes={
        **_HEADS,
        **_PAGED,
        "qo_len": (None, "Queries of the prefill."),
        "kv_len": (None, "Keys of the prefill."),
        "batch_size": (None, "Number of decodes."),
    },
    inputs={
        "q_p": (("qo_len", "num_qo_heads", "head_dim"), "Queries of the prefill."),
        "k_p": (("kv_len", "num_kv_heads", "head_dim"), "Its keys."),
        "v_p": (("kv_len", "num_kv_heads", "head_dim"), "Its values."),
        **_DECODE,
        "sm_scale": _SCALE,
    },
    outputs={
        "output_p": (("qo_len", "num_qo_heads", "head_dim"), None, "Of the prefill."),
        "output_d": (("batch_size", "num_qo_heads", "head_dim"), None, "Of the decodes."),
    },
    constraints=("len_indptr == batch_size + 1", "num_kv_indices == kv_indptr_d[-1].item()"),
    reference="pod_run",
)
_CACHE_P = ("num_pages_p", *_CACHE[1:])
BATCH_POD = dataclasses.replace(
    POD,
    name_prefix="batch_pod_run_causal",
    description="Causal prefill attention, beside decodes, each over a paged cache.",
    axes={
        **_HEADS,
        **_PAGED,
        "batch_size": POD.axes["batch_size"],
        "total_q": (None, "Queries of all prefills."),
        "num_pages_p": (None, "Pages of the prefills' cache."),
        "batch_size_p": (None, "Number of prefills."),
        "len_indptr_p": (None, "Number of prefills + 1."),
        "num_kv_indices_p": (None, "Pages of all prefills."),
    },
    inputs={
        "q_p": (("total_q", "num_qo_heads", "head_dim"), "Queries of the prefills."),
        "k_cache_p": (_CACHE_P, "Their keys."),
        "v_cache_p": (_CACHE_P, "Their values."),
        "qo_indptr_p": (("len_indptr_p",), _OFFSETS.format("queries")),
        "kv_indptr_p": (("len_indptr_p",), _OFFSETS.format("pages")),
        "kv_indices_p": (("num_kv_indices_p",), "Pages of each prefill."),
        "kv_last_page_len_p": (("batch_size_p",), _LAST),
        **_DECODE,
        "sm_scale": _SCALE,
    },
    outputs={
        "output_p": (("total_q", "num_qo_heads", "head_dim"), None, "Of the prefills."),
        "output_d": POD.outputs["output_d"],
    },
    constraints=(
        *POD.constraints,
        "len_indptr_p == batch_size_p + 1",
        "total_q == qo_indptr_p[-1].item()",
        "num_kv_indices_p == kv_indptr_p[-1].item()",
    ),
    reference="batch_pod_run",
)
PACKED = OwnTemplate(
    op_type="trtllm_paged",
    name_prefix="trtllm_fmha_v2_prefill",
    description="Batched causal attention; queries, keys and values lie side by side.",
    tags=("backend:trtllm", "stage:prefill", _STATUS),
    axes={
        "num_heads": ("h", "Number of heads on one rank."),
        "head_dim": _HEADS["head_dim"],
        "qkv_dim": ("", "Queries, keys, values."),
        "num_tokens": (None, "Tokens of all requests."),
        "batch_size_plus_1": (None, "Number of requests + 1."),
    },
    inputs={
        "qkv": (("num_tokens", "qkv_dim", "num_heads", "head_dim"), "Queries, keys and values."),
        "cum_seq_lens_q": (("batch_size_plus_1",), _OFFSETS.format("tokens")),
        "bmm1_scale": _SCALE,
        "bmm2_scale": (None, "Factor of the output."),
    },
    outputs={"output": (("num_tokens", "num_heads", "head_dim"), None, "Attention output.")},
    constraints=("num_tokens == cum_seq_lens_q[-1].item()",),
    reference="trtllm_fmha_v2_prefill",
)


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
        for n in _LEVELS
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
