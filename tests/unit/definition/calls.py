"""What the cases are made of: a recorded call and the template that it was dumped with."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from kerneldefs.capture.record import KernelCall, TensorFact

BF16, FP8, FP32, I32 = "bfloat16", "float8_e4m3fn", "float32", "int32"


@dataclasses.dataclass(frozen=True)
class Case:
    """A recorded call and its FlashInfer template, as module:attribute."""

    template: str
    call: KernelCall


def fact(dtype: str, *shape: int) -> TensorFact:
    """Return a contiguous tensor's fact."""
    stride = tuple(math.prod(shape[place + 1 :]) for place in range(len(shape)))
    return TensorFact(shape, dtype, stride)


def planned(**arguments: Any) -> dict[str, Any]:
    """Return plan() arguments as a capture records them."""
    return {
        k: dataclasses.asdict(v) if isinstance(v, TensorFact) else v for k, v in arguments.items()
    }


def case(
    template: str,
    op: str,
    tensors: dict[str, TensorFact],
    scalars: dict[str, Any] | None = None,
    outputs: tuple[TensorFact, ...] = (),
    plan: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
    phase: str = "decode",
) -> Case:
    """Return a case; the call's definition name is filled in from what FlashInfer dumps."""
    call = KernelCall(
        op=op,
        tensors=tensors,
        scalars=scalars or {},
        outputs=outputs,
        plan=plan,
        state=state or {},
        phase=phase,
        layer="model.layers.N",
        definition=None,
        template=f"{op}:{template.partition(':')[2]}",
        marks=(),
    )
    return Case(template, call)
