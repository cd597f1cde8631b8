"""Multi-head latent attention: absorbed over a paged latent cache, and unabsorbed prefill."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from kerneldefs.capture.observe.ops import ATTENTION
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.own import OwnTemplate
from kerneldefs.derive.attention import (
    DECODE_CONSTRAINTS,
    PAGED_AXES,
    PAGED_INPUTS,
    PREFILL_CONSTRAINTS,
    QO_INDPTR,
    is_grouped,
    outputs,
    paged_tensors,
    planned_offsets,
    query_dtype,
    require_plain,
)
from kerneldefs.derive.equivalent import (
    F32,
    I32,
    PAGE_SIZE,
    PAGES,
    REQUESTS,
    TOKENS,
    Equivalent,
    Family,
    Options,
    Underivable,
    fact,
    planned,
)
from kerneldefs.derive.families.gqa import RAGGED

PAGED = "flashinfer.mla.BatchMLAPagedAttentionWrapper.run"
_HEADS = "Number of query heads on one rank."
_WIDTHS = {
    "head_dim_ckv": ("ckv", "Width of the compressed keys and values."),
    "head_dim_kpe": ("kpe", "Width of the keys' rotary part."),
}
_CACHES = {
    "ckv_cache": (("num_pages", "page_size", "head_dim_ckv"), "Compressed keys and values."),
    "kpe_cache": (("num_pages", "page_size", "head_dim_kpe"), "Rotary part of the keys."),
}


def _queries(rows: str) -> dict[str, Any]:
    return {
        "q_nope": ((rows, "num_qo_heads", "head_dim_ckv"), "Queries without rotary part."),
        "q_pe": ((rows, "num_qo_heads", "head_dim_kpe"), "Rotary part of the queries."),
    }


DECODE_PAGES = OwnTemplate(
    op_type="mla_paged",
    name_prefix="mla_paged_decode",
    description=(
        "Batched MLA decode over a paged compressed cache whose last pages are partly filled, "
        "after weight absorption."
    ),
    tags=("stage:decode", "status:unverified"),
    axes={
        "batch_size": (None, "Number of requests, with one query each."),
        "num_qo_heads": ("h", _HEADS),
        **_WIDTHS,
        **PAGED_AXES,
    },
    inputs={**_queries("batch_size"), **_CACHES, **PAGED_INPUTS},
    outputs=outputs(("batch_size", "num_qo_heads"), "head_dim_ckv"),
    constraints=DECODE_CONSTRAINTS,
    reference="mla_paged_decode_pages",
)
PREFILL_PAGES = OwnTemplate(
    op_type="mla_paged",
    name_prefix="mla_paged_prefill_causal",
    description=(
        "Batched causal MLA prefill over a paged compressed cache whose last pages are partly "
        "filled, after weight absorption. The last query of a request stands at its last key."
    ),
    tags=("stage:prefill", "status:unverified"),
    axes={
        "batch_size": (None, "Number of requests."),
        "total_q": (None, "Number of query tokens of all requests."),
        "num_qo_heads": ("h", _HEADS),
        **_WIDTHS,
        **PAGED_AXES,
    },
    inputs={
        **_queries("total_q"),
        **_CACHES,
        "qo_indptr": QO_INDPTR,
        **PAGED_INPUTS,
    },
    outputs=outputs(("total_q", "num_qo_heads"), "head_dim_ckv"),
    constraints=PREFILL_CONSTRAINTS,
    reference="mla_paged_prefill_pages",
)


@dataclasses.dataclass(frozen=True)
class _Latent:
    heads: int
    ckv: int
    kpe: int
    scale: float
    dtype: str

    @property
    def name(self) -> str:
        return f"h{self.heads}_ckv{self.ckv}_kpe{self.kpe}"

    def queries(self, rows: int) -> dict[str, Any]:
        return {
            "q_nope": fact(self.dtype, rows, self.heads, self.ckv),
            "q_pe": fact(self.dtype, rows, self.heads, self.kpe),
        }

    def caches(self, page: int) -> dict[str, Any]:
        return {
            "ckv_cache": fact(self.dtype, PAGES, page, self.ckv),
            "kpe_cache": fact(self.dtype, PAGES, page, self.kpe),
        }


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    if is_grouped(call):
        return
    require_plain(call)
    said = call.scalars
    if said["window_left"] >= 0 or said["soft_cap"]:
        raise Underivable("attention-variant", f"{call.layer}: MLA with a window or a soft cap")
    if said["num_kv_heads"] != 1:
        yield _ragged(call)
        return
    if said.get("sparse_topk"):
        return  # the family of sparse attention
    latent = _Latent(
        said["num_qo_heads"],
        said["head_dim_vo"],
        said["head_dim_qk"] - said["head_dim_vo"],
        said["scale"],
        query_dtype(call),
    )
    decode = said["mode"] == "decode"
    yield _paged(latent, decode)
    for size in options.page_sizes if PAGE_SIZE in options.variants else ():
        if size > 1:
            yield _pages(latent, size, decode)


def _paged(latent: _Latent, decode: bool) -> Equivalent:
    rows = REQUESTS if decode else TOKENS
    prefix = "mla_paged_decode" if decode else "mla_paged_prefill_causal"
    return Equivalent(
        name=f"{prefix}_{latent.name}_ps1",
        op_type="mla_paged",
        api=PAGED,
        prefix="mla_paged_decode",
        tensors={**latent.queries(rows), **latent.caches(1)},
        scalars={"return_lse": False},
        outputs=(fact(latent.dtype, rows, latent.heads, latent.ckv),),
        plan={
            **planned_offsets("qo_indptr", "kv_indptr"),
            "kv_indices": planned(fact(I32, PAGES)),
            "num_heads": latent.heads,
            "head_dim_ckv": latent.ckv,
            "head_dim_kpe": latent.kpe,
            "page_size": 1,
            "causal": True,
            "sm_scale": latent.scale,
        },
        state={"causal": True},
        template=decode,
        routed=True,
    )


def _pages(latent: _Latent, size: int, decode: bool) -> Equivalent:
    own = DECODE_PAGES if decode else PREFILL_PAGES
    rows = REQUESTS if decode else TOKENS
    more = {} if decode else {"qo_indptr": fact(I32, REQUESTS + 1)}
    output = fact(latent.dtype, rows, latent.heads, latent.ckv)
    return Equivalent(
        name=f"{own.name_prefix}_{latent.name}_ps{size}",
        op_type="mla_paged",
        api=PAGED,
        prefix=own.name_prefix,
        tensors={**latent.queries(rows), **latent.caches(size), **more, **paged_tensors()},
        scalars={"sm_scale": latent.scale},
        outputs=(output, fact(F32, rows, latent.heads)),
        own=own,
        main="q_nope",
        variant=PAGE_SIZE,
        template=False,
        routed=True,
    )


def _ragged(call: KernelCall) -> Equivalent:
    said = call.scalars
    heads, kv = said["num_qo_heads"], said["num_kv_heads"]
    qk, vo = said["head_dim_qk"], said["head_dim_vo"]
    dtype = query_dtype(call)
    return Equivalent(
        name=f"mla_ragged_prefill_causal_h{heads}_qk{qk}_vo{vo}",
        op_type="mla_ragged",
        api=RAGGED,
        prefix="gqa_ragged",
        tensors={
            "q": fact(dtype, TOKENS, heads, qk),
            "k": fact(dtype, TOKENS, kv, qk),
            "v": fact(dtype, TOKENS, kv, vo),
        },
        scalars={"return_lse": True},
        outputs=(fact(dtype, TOKENS, heads, vo), fact(F32, TOKENS, heads)),
        plan={
            "num_qo_heads": heads,
            "num_kv_heads": kv,
            "head_dim_qk": qk,
            "head_dim_vo": vo,
            "sm_scale": said["scale"],
            **planned_offsets("qo_indptr", "kv_indptr"),
        },
        state={"causal": True, "logits_soft_cap": 0.0, "window_left": -1},
        template=False,
        routed=True,
    )


FAMILY = Family("mla", (ATTENTION,), _equivalents)
