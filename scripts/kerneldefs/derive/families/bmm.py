"""Products of a batch of matrices with weights: MLA's absorbed projections."""

from __future__ import annotations

from collections.abc import Iterator

from kerneldefs.capture.observe.ops import MATMUL
from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.equivalent import (
    BF16,
    TOKENS,
    Equivalent,
    Family,
    Options,
    Underivable,
    fact,
    tensor_of,
)


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    x, weight = tensor_of(call, "x"), tensor_of(call, "weight")
    if str(call.scalars.get("operator")) != "aten::bmm" or {x.dtype, weight.dtype} != {BF16}:
        what = f"{call.scalars.get('operator')} with the weight {call.scalars.get('weight_name')}"
        raise Underivable("unclaimed", f"{what}, which no hook accounts for")
    batch, k, n = weight.shape
    yield Equivalent(
        name=f"bmm_bf16_N{n}_K{k}",
        op_type="bmm_bf16",
        api="flashinfer.gemm.bmm_bf16",
        prefix="bmm_bf16",
        tensors={"A": fact(BF16, batch, TOKENS, k), "B": fact(BF16, batch, k, n)},
        outputs=(fact(BF16, batch, TOKENS, n),),
    )


FAMILY = Family("bmm", (MATMUL,), _equivalents)
