"""Grouped-query attention with sinks: decode and prefill over a paged cache.

FlashInfer has the kernel, and no trace template for it. A sink belongs to the whole row of logits,
so a prefill on a cached prefix is one call, and nothing is merged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from kerneldefs.capture.observe.ops import ATTENTION
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.own import OwnTemplate
from kerneldefs.derive.attention import is_grouped, paged_tensors, require_decoder
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
)
from kerneldefs.derive.families.gqa import DECODE_PAGES, PREFILL_PAGES, Heads, heads_of

API = "flashinfer.attention.BatchAttentionWithAttentionSinkWrapper.run"


def _sunk(template: OwnTemplate) -> OwnTemplate:
    """Return a template whose softmax has one logit more, after the caches."""
    inputs = {}
    for name, slot in template.inputs.items():
        inputs[name] = slot
        if name == "v_cache":
            inputs["sink"] = (("num_qo_heads",), "A logit of each head, with no key or value.")
    output, lse = template.outputs.values()
    return dataclasses.replace(
        template,
        name_prefix=f"{template.name_prefix}_sinks",
        description=f"{template.description} Each head has a sink: a logit more, of no value.",
        inputs=inputs,
        outputs={"output": output, "lse": (*lse[:2], "Base-2 log-sum-exp of logits and sink.")},
        reference=template.reference.replace("_pages", "_sinks"),
    )


DECODE, PREFILL = _sunk(DECODE_PAGES), _sunk(PREFILL_PAGES)


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    if not is_grouped(call) or not call.scalars.get("sinks"):
        return
    require_decoder(call)
    heads = heads_of(call)
    if heads.cap:
        raise Underivable("attention-sinks", f"{call.layer}: sinks and a soft cap")
    decode = call.scalars["mode"] == "decode"
    own, rows = (DECODE, REQUESTS) if decode else (PREFILL, TOKENS)
    yield _paged(heads, 1, own, rows)
    for size in options.page_sizes if PAGE_SIZE in options.variants else ():
        if size > 1:
            yield dataclasses.replace(_paged(heads, size, own, rows), variant=PAGE_SIZE)


def _paged(heads: Heads, size: int, own: OwnTemplate, rows: int) -> Equivalent:
    q = fact(heads.dtype, rows, heads.qo, heads.dim)
    cache = fact(heads.dtype, PAGES, size, heads.kv, heads.dim)
    offsets = {} if own is DECODE else {"qo_indptr": fact(I32, REQUESTS + 1)}
    return Equivalent(
        name="_".join([own.name_prefix, heads.name, f"ps{size}", *heads.suffixes]),
        op_type="gqa_paged",
        api=API,
        prefix=own.name_prefix,
        tensors={
            "q": q,
            "k_cache": cache,
            "v_cache": cache,
            "sink": fact(F32, heads.qo),
            **offsets,
            **paged_tensors(),
        },
        scalars={"sm_scale": heads.scale},
        outputs=(q, fact(F32, rows, heads.qo)),
        state={"causal": True},
        own=dataclasses.replace(
            own, constants={"WINDOW_LEFT": heads.window} if heads.window >= 0 else {}
        ),
        suffixes=heads.suffixes,
        main="q",
        template=False,
    )


FAMILY = Family("sinks", (ATTENTION,), _equivalents)
