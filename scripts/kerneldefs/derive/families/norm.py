"""RMS norms, plain and Gemma's, alone and after adding a residual; and layer norms."""

from __future__ import annotations

from collections.abc import Iterator

from kerneldefs.capture.observe.ops import NORM
from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.equivalent import (
    BF16,
    F32,
    TOKENS,
    Equivalent,
    Family,
    Options,
    Underivable,
    epsilon_suffix,
    fact,
    tensor_of,
)

# Style -> FlashInfer's function without and with a residual.
_FUNCTIONS = {
    "rmsnorm": ("rmsnorm", "fused_add_rmsnorm"),
    "gemma_rmsnorm": ("gemma_rmsnorm", "gemma_fused_add_rmsnorm"),
}


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    x = tensor_of(call, "x")
    style, kind = str(call.scalars.get("style")), call.scalars.get("kind")
    if style == "layernorm":
        yield _layer_norm(call)
        return
    if style not in _FUNCTIONS or call.scalars.get("partial"):
        raise Underivable("norm-kind", f"{call.layer}: no FlashInfer norm does what {kind} does")
    if "weight" not in call.tensors:
        raise Underivable("norm-kind", f"{call.layer}: {kind} has no weight")
    width, eps = x.shape[-1], float(call.scalars["eps"])
    fused = "residual" in call.tensors
    function = _FUNCTIONS[style][fused]
    rows = fact(x.dtype, TOKENS, width)
    tensors = {"input": rows, "weight": fact(x.dtype, width)}
    if fused:
        tensors["residual"] = rows
    yield Equivalent(
        name=f"{function}_h{width}{epsilon_suffix(eps)}",
        op_type="rmsnorm",
        api=f"flashinfer.norm.{function}",
        prefix=function,
        tensors=tensors,
        scalars={"eps": eps},
        outputs=() if fused else (rows,),
        routed=True,
    )


def _layer_norm(call: KernelCall) -> Equivalent:
    """FlashInfer's takes a weight and a bias in single precision, and no residual."""
    x = tensor_of(call, "x")
    parts = [call.tensors.get(name) for name in ("weight", "bias")]
    fits = all(part is not None and part.dtype == F32 for part in parts)
    if not fits or x.dtype != BF16 or "residual" in call.tensors:
        raise Underivable("norm-kind", f"{call.layer}: no FlashInfer layer norm of these tensors")
    width, eps = x.shape[-1], float(call.scalars["eps"])
    rows = fact(x.dtype, TOKENS, width)
    return Equivalent(
        name=f"layernorm_h{width}{epsilon_suffix(eps)}",
        op_type="layernorm",
        api="flashinfer.norm.layernorm",
        prefix="layernorm",
        tensors={"input": rows, "gemma": fact(F32, width), "beta": fact(F32, width)},
        scalars={"eps": eps},
        outputs=(rows,),
        routed=True,
    )


FAMILY = Family("rmsnorm", (NORM,), _equivalents)
