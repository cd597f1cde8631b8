"""Grouped-query attention: decode and prefill over a paged cache, and prefill over ragged keys.

At page size 1 a wrapper's call is what FlashInfer's own template describes. Larger pages have a
last one that is partly filled, which only templates of ours know.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from kerneldefs.capture.observe.ops import ATTENTION
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.own import OwnTemplate
from kerneldefs.definition.variants import number
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
    require_decoder,
    require_every_key,
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
    fact,
    planned,
)

DECODE = "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper.run"
PREFILL = "flashinfer.prefill.BatchPrefillWithPagedKVCacheWrapper.run"
RAGGED = "flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper.run"
_CACHE = ("num_pages", "page_size", "num_kv_heads", "head_dim")
_QUERIES = ("batch_size", "num_qo_heads", "head_dim")
DECODE_PAGES = OwnTemplate(
    op_type="gqa_paged",
    name_prefix="gqa_paged_decode",
    description="Batched decode attention over a paged cache whose last pages are partly filled.",
    tags=("stage:decode", "status:unverified"),
    axes={
        "batch_size": (None, "Number of requests, with one query each."),
        "num_qo_heads": ("h", "Number of query heads on one rank."),
        "num_kv_heads": ("kv", "Number of key and value heads on one rank."),
        "head_dim": ("d", "Head dimension."),
        **PAGED_AXES,
    },
    inputs={
        "q": (_QUERIES, "Queries."),
        "k_cache": (_CACHE, "Keys."),
        "v_cache": (_CACHE, "Values."),
        **PAGED_INPUTS,
    },
    outputs=outputs(_QUERIES[:2], "head_dim"),
    constraints=DECODE_CONSTRAINTS,
    reference="gqa_paged_decode_pages",
)
_PREFILL_QUERIES = ("total_q", "num_qo_heads", "head_dim")
PREFILL_PAGES = dataclasses.replace(
    DECODE_PAGES,
    name_prefix="gqa_paged_prefill",
    description=(
        "Batched causal prefill attention over a paged cache whose last pages are partly filled. "
        "The last query of a request stands at its last key."
    ),
    tags=("stage:prefill", "status:unverified"),
    axes={
        **DECODE_PAGES.axes,
        "batch_size": (None, "Number of requests."),
        "total_q": (None, "Number of query tokens of all requests."),
    },
    inputs={
        "q": (_PREFILL_QUERIES, "Queries."),
        "k_cache": (_CACHE, "Keys."),
        "v_cache": (_CACHE, "Values."),
        "qo_indptr": QO_INDPTR,
        **PAGED_INPUTS,
    },
    outputs=outputs(_PREFILL_QUERIES[:2], "head_dim"),
    constraints=PREFILL_CONSTRAINTS,
    reference="gqa_paged_prefill_pages",
)


@dataclasses.dataclass(frozen=True)
class Heads:
    """What an observed attention layer says of itself."""

    qo: int
    kv: int
    dim: int
    window: int
    cap: float
    scale: float
    dtype: str

    @property
    def name(self) -> str:
        """Return the middle of the names."""
        return f"h{self.qo}_kv{self.kv}_d{self.dim}"

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Return what names say of a window and a soft cap."""
        found = [f"win{self.window}"] if self.window >= 0 else []
        return (*found, f"cap{number(self.cap)}") if self.cap else tuple(found)

    def state(self, causal: bool | None) -> dict[str, Any]:
        """Return the wrapper's attributes as run() reads them."""
        known = {"logits_soft_cap": self.cap, "window_left": self.window}
        return known if causal is None else {**known, "causal": causal}


def heads_of(call: KernelCall) -> Heads:
    """Return what an observed call says of its heads."""
    said = call.scalars
    return Heads(
        said["num_qo_heads"],
        said["num_kv_heads"],
        said["head_dim_qk"],
        said["window_left"],
        said["soft_cap"],
        said["scale"],
        query_dtype(call),
    )


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    if not is_grouped(call) or call.scalars.get("sinks"):
        return  # families/sinks.py has those
    require_decoder(call)
    require_every_key(call)
    said, heads = call.scalars, heads_of(call)
    sizes = options.page_sizes if PAGE_SIZE in options.variants else ()
    larger = [size for size in sizes if size > 1]
    if said["mode"] == "decode":
        yield _decode(heads)
        yield from (_decode_pages(heads, size) for size in larger)
        return
    yield _prefill(heads, causal=True)
    yield _ragged(heads)
    yield from (_prefill_pages(heads, size) for size in larger)
    if said.get("cached_prefix"):
        yield _prefill(heads, causal=False)
        yield _merge(heads)


def _plan(heads: Heads) -> dict[str, Any]:
    return {
        "num_qo_heads": heads.qo,
        "num_kv_heads": heads.kv,
        "head_dim": heads.dim,
        "head_dim_qk": heads.dim,
        "page_size": 1,
        "sm_scale": heads.scale,
        "paged_kv_indices": planned(fact(I32, PAGES)),
        **planned_offsets("paged_kv_indptr", "qo_indptr", "kv_indptr"),
    }


def _cache(heads: Heads) -> dict[str, Any]:
    cache = fact(heads.dtype, PAGES, 1, heads.kv, heads.dim)
    return {"paged_kv_cache#0": cache, "paged_kv_cache#1": cache}


def _suffixed(name: str, suffixes: tuple[str, ...]) -> str:
    return "_".join([name, *suffixes])


def _decode(heads: Heads) -> Equivalent:
    q = fact(heads.dtype, REQUESTS, heads.qo, heads.dim)
    return Equivalent(
        name=_suffixed(f"gqa_paged_decode_{heads.name}_ps1", heads.suffixes),
        op_type="gqa_paged",
        api=DECODE,
        prefix="gqa_paged_decode",
        tensors={"q": q, **_cache(heads)},
        scalars={"return_lse": False},
        outputs=(q,),
        plan=_plan(heads),
        state=heads.state(None),
        routed=True,
    )


def _prefill(heads: Heads, causal: bool) -> Equivalent:
    q = fact(heads.dtype, TOKENS, heads.qo, heads.dim)
    suffixes = heads.suffixes if causal else ("noncausal", *heads.suffixes)
    return Equivalent(
        name=_suffixed(f"gqa_paged_prefill_{heads.name}_ps1", suffixes),
        op_type="gqa_paged",
        api=PREFILL,
        prefix="gqa_paged_prefill",
        tensors={"q": q, **_cache(heads)},
        scalars={"return_lse": True},
        outputs=(q, fact(F32, TOKENS, heads.qo)),
        plan=_plan(heads),
        state=heads.state(causal),
        routed=True,
    )


def _ragged(heads: Heads) -> Equivalent:
    q = fact(heads.dtype, TOKENS, heads.qo, heads.dim)
    kv = fact(heads.dtype, TOKENS, heads.kv, heads.dim)
    return Equivalent(
        name=_suffixed(f"gqa_ragged_{heads.name}", heads.suffixes),
        op_type="gqa_ragged",
        api=RAGGED,
        prefix="gqa_ragged",
        tensors={"q": q, "k": kv, "v": kv},
        scalars={"return_lse": True},
        outputs=(q, fact(F32, TOKENS, heads.qo)),
        plan=_plan(heads),
        state=heads.state(True),
        routed=True,
    )


def _merge(heads: Heads) -> Equivalent:
    part, lse = fact(heads.dtype, TOKENS, heads.qo, heads.dim), fact(F32, TOKENS, heads.qo)
    return Equivalent(
        name=f"merge_state_h{heads.qo}_d{heads.dim}",
        op_type="cascade_merge",
        api="flashinfer.cascade.merge_state",
        prefix="merge_state",
        tensors={"v_a": part, "s_a": lse, "v_b": part, "s_b": lse},
        outputs=(part, lse),
        routed=True,
    )


def _pages(
    heads: Heads, size: int, own: OwnTemplate, q: Any, more: Mapping[str, Any]
) -> Equivalent:
    cache = fact(heads.dtype, PAGES, size, heads.kv, heads.dim)
    constants: dict[str, Any] = {"WINDOW_LEFT": heads.window} if heads.window >= 0 else {}
    constants |= {"SOFT_CAP": heads.cap} if heads.cap else {}
    return Equivalent(
        name=_suffixed(f"{own.name_prefix}_{heads.name}_ps{size}", heads.suffixes),
        op_type="gqa_paged",
        api=DECODE if own is DECODE_PAGES else PREFILL,
        prefix=own.name_prefix,
        tensors={"q": q, "k_cache": cache, "v_cache": cache, **more, **paged_tensors()},
        scalars={"sm_scale": heads.scale},
        outputs=(q, fact(F32, *q.shape[:2])),
        state={} if own is DECODE_PAGES else {"causal": True},
        own=dataclasses.replace(own, constants=constants),
        suffixes=heads.suffixes,
        main="q",
        variant=PAGE_SIZE,
        template=False,
        routed=True,
    )


def _decode_pages(heads: Heads, size: int) -> Equivalent:
    q = fact(heads.dtype, REQUESTS, heads.qo, heads.dim)
    return _pages(heads, size, DECODE_PAGES, q, {})


def _prefill_pages(heads: Heads, size: int) -> Equivalent:
    q = fact(heads.dtype, TOKENS, heads.qo, heads.dim)
    return _pages(heads, size, PREFILL_PAGES, q, {"qo_indptr": fact(I32, REQUESTS + 1)})


FAMILY = Family("gqa", (ATTENTION,), _equivalents)
