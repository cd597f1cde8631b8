"""Gated activations: half of a row is multiplied with the activated other half."""

from __future__ import annotations

from collections.abc import Iterator

from kerneldefs.capture.observe.ops import ACTIVATION, GATED_PRODUCT
from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.equivalent import (
    TOKENS,
    Equivalent,
    Family,
    Options,
    Underivable,
    fact,
    tensor_of,
)

_FUNCTIONS = ("silu_and_mul", "gelu_and_mul", "gelu_tanh_and_mul")


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    if call.op == GATED_PRODUCT:
        raise Underivable(
            "gated-product",
            f"{call.layer}: product, SiLU and quantization to NVFP4 in one kernel, which no "
            "template describes",
        )
    x, function = tensor_of(call, "x"), str(call.scalars.get("function"))
    if function not in _FUNCTIONS:
        raise Underivable("activation-kind", f"{call.layer}: FlashInfer has no {function}")
    if call.scalars.get("limit"):
        raise Underivable("activation-limit", f"{call.layer}: {function} with a limit")
    width = x.shape[-1]
    yield Equivalent(
        name=f"{function}_h{width}",
        op_type="activation",
        api=f"flashinfer.activation.{function}",
        prefix=function,
        tensors={"input": fact(x.dtype, TOKENS, width)},
        outputs=(fact(x.dtype, TOKENS, width // 2),),
    )


FAMILY = Family("activation", (ACTIVATION, GATED_PRODUCT), _equivalents)
