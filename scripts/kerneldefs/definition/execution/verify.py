"""Agreement of a reference with an independent implementation: the ground for `status:verified`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from kerneldefs.definition.execution.known import row_of
from kerneldefs.definition.execution.pairs import Definition, Pair, Run, Values

# Absolute and relative tolerance by the dtype of the output: a few units in its last place, the
# sums being over at most a few thousand products. The absolute one is for outputs whose largest
# number is one or more, and shrinks with smaller ones.
TOLERANCES = {
    "float32": (1e-4, 1e-3),
    "float16": (2e-3, 4e-3),
    "bfloat16": (1e-2, 1.6e-2),
    "float8_e4m3fn": (2e-2, 0.13),
    "float8_e5m2": (4e-2, 0.26),
    "int8": (0.0, 0.0),
    "int32": (0.0, 0.0),
    "int64": (0.0, 0.0),
}
_PIECE = 1 << 20  # elements


def agreement(definition: Definition, values: Values, run: Run) -> dict[str, Any] | None:
    """Compare run() with an independent implementation; None where there is none.

    None too where all of it should be zero, since other mistakes would lead to zeros as well.
    Returns what it was compared with, and for each output its tolerances, the largest absolute
    difference and whether all of it is within them.
    """
    row = row_of(definition)
    if row is None or any(o["dtype"] not in TOLERANCES for o in definition["outputs"].values()):
        return None
    pairs = row.pairs(definition, values, run)
    if not any(_something(pair.expected) for pair in pairs):
        return None
    compared = zip(definition["outputs"].items(), pairs, strict=False)
    outputs = {name: _compared(spec, pair) for (name, spec), pair in compared}
    agrees = all(output["agrees"] for output in outputs.values())
    return {"against": row.against, "outputs": outputs, "agrees": agrees}


def _something(expected: Any) -> bool:
    """Whether any number is not zero; a large output is looked at up to the first such piece."""
    pieces = expected.flatten().split(_PIECE)
    return any(bool(piece.double().count_nonzero()) for piece in pieces)


def _compared(spec: Mapping[str, Any], pair: Pair) -> dict[str, Any]:
    atol, rtol = pair.tolerance or TOLERANCES[spec["dtype"]]
    if (atol, rtol) == (0.0, 0.0) and _equal(pair):  # whole caches, which take long otherwise
        return {"atol": atol, "rtol": rtol, "largest": 0.0, "agrees": True}
    got, expected = pair.got.double(), pair.expected.double()
    finite = expected[expected.isfinite()].abs()
    atol *= min(1.0, float(finite.max())) if finite.numel() else 1.0
    equal = got == expected  # equal infinities too
    gap = torch.where(equal, 0.0, (got - expected).abs())
    within = equal | (expected.isfinite() & (gap <= atol + rtol * expected.abs()))
    if pair.sure is not None:
        gap, within = gap[pair.sure], within[pair.sure]
    return {
        "atol": atol,
        "rtol": rtol,
        "largest": float(gap.max()) if gap.numel() else 0.0,
        "agrees": bool(within.all()),
    }


def _equal(pair: Pair) -> bool:
    """Whether all numbers are equal, whose dtypes are too."""
    same_dtype: bool = pair.got.dtype == pair.expected.dtype
    return same_dtype and bool(torch.equal(pair.got, pair.expected))
