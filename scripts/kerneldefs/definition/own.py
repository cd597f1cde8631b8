"""Templates of our own, for what FlashInfer calls but has no true template for.

Each row is a schema and a reference under references/, whose text becomes the definition's: the
reference's constants are set to what the call said.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.capture.record import Axis, KernelCall, Slot, Template
from kerneldefs.definition.draft import Draft, Quarantine
from kerneldefs.definition.evidence import Evidence, Received, View, gather
from kerneldefs.definition.source import with_constant
from kerneldefs.definition.views import argument, plan_of, planned

REFERENCES = Path(__file__).with_name("references")


@dataclasses.dataclass(frozen=True)
class OwnTemplate:
    """An op's schema: axes as (abbreviation in names or None for a var axis, description)."""

    op_type: str
    name_prefix: str
    description: str
    tags: tuple[str, ...]
    axes: Mapping[str, tuple[str | None, str]]
    inputs: Mapping[str, tuple[tuple[str, ...] | None, str]]
    outputs: Mapping[str, tuple[tuple[str, ...], str | None, str]]  # dims, dtype (None: q's)
    constraints: tuple[str, ...]
    reference: str
    constants: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def template(self, call: KernelCall) -> Template:
        """Return the schema as a template record of the call's API."""
        return Template(
            api=call.op,
            op_type=self.op_type,
            name_prefix=self.name_prefix,
            module="",
            axes={
                k: Axis(abbrev is not None, abbrev, None) for k, (abbrev, _) in self.axes.items()
            },
            inputs={k: Slot(dims, None, None, None, False) for k, (dims, _) in self.inputs.items()},
            outputs={
                k: Slot(dims, dtype, None, None, False)
                for k, (dims, dtype, _) in self.outputs.items()
            },
            optional_params=(),
            has_reference=True,
        )

    def draft(self, tags: list[str], main_dtype: str) -> Draft:
        """Return the definition as a dumper that knew this template would have written it."""
        return {
            "name": self.name_prefix,
            "description": self.description,
            "op_type": self.op_type,
            "tags": [*[t for t in tags if t.startswith("fi_api:")], *self.tags],
            "axes": {
                k: {"type": "var" if abbrev is None else "const"}
                | ({"description": text} if text else {})
                for k, (abbrev, text) in self.axes.items()
            },
            "constraints": list(self.constraints),
            "inputs": {
                k: {"shape": None, "dtype": "float32", "description": text}
                if dims is None
                else {"shape": list(dims), "dtype": "unknown", "description": text}
                for k, (dims, text) in self.inputs.items()
            },
            "outputs": {
                k: {"shape": list(dims), "dtype": dtype or main_dtype, "description": text}
                for k, (dims, dtype, text) in self.outputs.items()
            },
            "reference": reference(self.reference, self.constants),
        }


def reference(name: str, constants: Mapping[str, Any]) -> str:
    """Return the text of one of our references with its constants set."""
    text = (REFERENCES / f"{name}.py").read_text(encoding="utf-8")
    for constant, value in constants.items():
        text = with_constant(text, constant, value)
    return text


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


@dataclasses.dataclass(frozen=True)
class Retarget:
    """When a call belongs to a template of ours, and how its arguments fill that template."""

    cause: str
    choose: Callable[[Evidence], OwnTemplate | None]
    view: Callable[[Evidence], View]
    main: str  # the input whose dtype the output has


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


# API -> when and how its calls are described by a template of ours.
RETARGETS: dict[str, Retarget] = {
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


def retarget(draft: Draft, evidence: Evidence) -> tuple[Draft, Evidence, str] | None:
    """Return draft and evidence under a template of ours, and the cause; None where none fits."""
    row = RETARGETS.get(evidence.api)
    own = row.choose(evidence) if row else None
    if row is None or own is None:
        return None
    renewed = gather(evidence.call, own.template(evidence.call), row.view(evidence))
    main = renewed.of(row.main).tensor
    if main is None:
        raise Quarantine("no-tensor", f"{evidence.call.op} was called without {row.main}")
    return own.draft(draft["tags"], main.dtype), renewed, row.cause
