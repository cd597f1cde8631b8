"""Templates of our own by API, one module per family."""

from __future__ import annotations

from kerneldefs.definition.draft import Draft, Quarantine
from kerneldefs.definition.evidence import Evidence, gather
from kerneldefs.definition.own import Retarget
from kerneldefs.definition.templates import (
    attention,
    gemm,
    mla,
    moe,
    moe_calls,
    quantization,
    sparse,
    state,
    trtllm,
)

# API -> when and how its calls are described by a template of ours.
RETARGETS: dict[str, Retarget] = {
    **attention.ROWS,
    **gemm.ROWS,
    **mla.ROWS,
    **moe.ROWS,
    **moe_calls.ROWS,
    **quantization.ROWS,
    **sparse.ROWS,
    **state.ROWS,
    **trtllm.ROWS,
}


def retarget(draft: Draft, evidence: Evidence) -> tuple[Draft, Evidence, str] | None:
    """Return draft and evidence under a template of ours, and the cause; None where none fits."""
    row = RETARGETS.get(evidence.api)
    own = row.choose(evidence) if row else None
    if row is None or own is None:
        return None
    template = own.template(evidence.call, row.sizes(evidence))
    renewed = gather(evidence.call, template, row.view(evidence))
    main = renewed.of(row.main).tensor
    if main is None:
        raise Quarantine("no-tensor", f"{evidence.call.op} was called without {row.main}")
    return own.draft(draft["tags"], main.dtype), renewed, row.cause
