"""MLA whose calls FlashInfer dumps with templates of something else: ragged, and paged prefill."""

from __future__ import annotations

import dataclasses

from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Evidence, Received, View
from kerneldefs.definition.own import OwnTemplate, Retarget
from kerneldefs.definition.views import argument, plan_of, planned

_QUERIES = "Number of query tokens of all requests."
_OFFSETS = "Where each request's {} start; the last entry is their number."

MLA_RAGGED = OwnTemplate(
    op_type="mla_ragged",
    name_prefix="mla_ragged_prefill_causal",
    description=(
        "Batched causal prefill attention over contiguous keys and values whose head dimensions "
        "differ, as in MLA before weight absorption. The last query of a request stands at its "
        "last key."
    ),
    tags=("stage:prefill", "status:unverified"),
    axes={
        "num_qo_heads": ("h", "Number of query heads on one rank."),
        "num_kv_heads": ("", "Number of key and value heads on one rank."),
        "head_dim_qk": ("qk", "Head dimension of queries and keys."),
        "head_dim_vo": ("vo", "Head dimension of values and outputs."),
        "len_indptr": (None, "Number of requests + 1."),
        "total_q": (None, _QUERIES),
        "total_kv": (None, "Number of key tokens of all requests."),
    },
    inputs={
        "q": (("total_q", "num_qo_heads", "head_dim_qk"), "Queries."),
        "k": (("total_kv", "num_kv_heads", "head_dim_qk"), "Keys."),
        "v": (("total_kv", "num_kv_heads", "head_dim_vo"), "Values."),
        "qo_indptr": (("len_indptr",), _OFFSETS.format("queries")),
        "kv_indptr": (("len_indptr",), _OFFSETS.format("keys")),
        "sm_scale": (None, "Factor of the logits."),
    },
    outputs={
        "output": (("total_q", "num_qo_heads", "head_dim_vo"), None, "Attention output."),
        "lse": (("total_q", "num_qo_heads"), "float32", "Base-2 log-sum-exp of the logits."),
    },
    constraints=("total_q == qo_indptr[-1].item()", "total_kv == kv_indptr[-1].item()"),
    reference="gqa_ragged_prefill",
)
MLA_RAGGED_FULL = dataclasses.replace(
    MLA_RAGGED,
    name_prefix="mla_ragged_prefill_noncausal",
    description=MLA_RAGGED.description.replace("causal prefill", "non-causal prefill"),
    constants={"CAUSAL": False},
)
MLA_PAGED_PREFILL = OwnTemplate(
    op_type="mla_paged",
    name_prefix="mla_paged_prefill_causal",
    description=(
        "Batched causal MLA prefill over a paged compressed cache, after weight absorption. The "
        "last query of a request stands at its last key."
    ),
    tags=("stage:prefill", "status:unverified"),
    axes={
        "num_qo_heads": ("h", "Number of query heads on one rank."),
        "head_dim_ckv": ("ckv", "Width of the compressed keys and values."),
        "head_dim_kpe": ("kpe", "Width of the keys' rotary part."),
        "page_size": ("ps", "Tokens per page."),
        "total_q": (None, _QUERIES),
        "num_pages": (None, "Number of pages of the cache."),
        "len_indptr": (None, "Number of requests + 1."),
        "num_kv_indices": (None, "Number of pages of all requests."),
    },
    inputs={
        "q_nope": (("total_q", "num_qo_heads", "head_dim_ckv"), "Queries without rotary part."),
        "q_pe": (("total_q", "num_qo_heads", "head_dim_kpe"), "Rotary part of the queries."),
        "ckv_cache": (("num_pages", "page_size", "head_dim_ckv"), "Compressed keys and values."),
        "kpe_cache": (("num_pages", "page_size", "head_dim_kpe"), "Rotary part of the keys."),
        "qo_indptr": (("len_indptr",), _OFFSETS.format("queries")),
        "kv_indptr": (("len_indptr",), _OFFSETS.format("pages")),
        "kv_indices": (("num_kv_indices",), "Pages of each request."),
        "sm_scale": (None, "Factor of the logits."),
    },
    outputs={
        "output": (("total_q", "num_qo_heads", "head_dim_ckv"), None, "Attention output."),
        "lse": (("total_q", "num_qo_heads"), "float32", "Base-2 log-sum-exp of the logits."),
    },
    constraints=("total_q == qo_indptr[-1].item()", "num_kv_indices == kv_indptr[-1].item()"),
    reference="mla_paged_prefill",
)


def _head_dims_differ(evidence: Evidence) -> OwnTemplate | None:
    call = evidence.call
    if argument(call, "q").shape[-1] == argument(call, "v").shape[-1]:
        return None
    if argument(call, "q").shape[1] != argument(call, "k").shape[1]:
        raise Quarantine(
            "head-dims", f"{call.op} has head dims {_dims(call, 'q', 'v')} with grouped queries"
        )
    return MLA_RAGGED if call.state.get("causal", plan_of(call).get("causal")) else MLA_RAGGED_FULL


def _dims(call: KernelCall, *names: str) -> list[int]:
    return [argument(call, name).shape[-1] for name in names]


def _trtllm_ragged(evidence: Evidence) -> OwnTemplate | None:
    causal = evidence.scalar("is_causal")
    if not isinstance(causal, bool):
        raise Quarantine("no-evidence", f"{evidence.call.op} gave no is_causal")
    if evidence.scalar("bmm2_scale") not in (1, 1.0):
        raise Quarantine("argument-not-modelled", "the scale of the values is not 1")
    if evidence.scalar("window_left") not in (None, -1):
        raise Quarantine("argument-not-modelled", "a sliding window was asked for")
    return MLA_RAGGED if causal else MLA_RAGGED_FULL


def _trtllm_ragged_view(evidence: Evidence) -> View:
    call = evidence.call
    names = {
        "q": "query",
        "k": "key",
        "v": "value",
        "qo_indptr": "cum_seq_lens_q",
        "kv_indptr": "cum_seq_lens_kv",
    }
    received = {key: Received(tensor=argument(call, name)) for key, name in names.items()}
    received["sm_scale"] = Received(value=call.scalars.get("bmm1_scale"))
    further = {"seq_lens", "max_q_len", "max_kv_len", "bmm1_scale", "bmm2_scale", "batch_size"}
    return View(received, {}, frozenset({*names.values(), *further}))


def _several_queries_each(evidence: Evidence) -> OwnTemplate | None:
    """Tell MLA prefill from decode by the planned offsets: one query each is a decode."""
    offsets, queries = evidence.call.plan, argument(evidence.call, "q_nope").shape[0]
    requests = (offsets or {}).get("qo_indptr", {}).get("shape", [0])[0] - 1
    if queries == requests:
        return None
    if not evidence.call.state.get("causal", plan_of(evidence.call).get("causal")):
        raise Quarantine(
            "multi-token-decode",
            f"{evidence.call.op} ran {queries} queries of {requests} requests without a mask",
        )
    return MLA_PAGED_PREFILL


def _same(evidence: Evidence) -> View:
    received = dict(evidence.received)
    if "qo_indptr" not in received and evidence.call.plan:
        received["qo_indptr"] = planned(evidence.call, "qo_indptr")
    return View(received, evidence.dims, evidence.understood)


ROWS: dict[str, Retarget] = {
    "BatchPrefillWithRaggedKVCacheWrapper.run": Retarget(
        "flashinfer/trace/templates/attention.py (0.6.18): gqa_ragged has one head_dim for q, k, v",
        _head_dims_differ,
        _same,
        "q",
    ),
    "trtllm_ragged_attention_deepseek": Retarget(
        "flashinfer/trace/templates/gemm.py (0.6.18): the reference gives the output q's head dim",
        _trtllm_ragged,
        _trtllm_ragged_view,
        "q",
    ),
    "BatchMLAPagedAttentionWrapper.run": Retarget(
        "flashinfer/mla/_core.py (0.6.18): run() carries the decode template for prefill too",
        _several_queries_each,
        _same,
        "q_nope",
    ),
}
