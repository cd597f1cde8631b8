"""Quantization of activations before a product with quantized weights."""

from __future__ import annotations

from collections.abc import Iterator

from kerneldefs.capture.observe.ops import LINEAR
from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.equivalent import (
    F32,
    FP8,
    TOKENS,
    U8,
    Equivalent,
    Family,
    Options,
    fact,
    tensor_of,
)


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    x, scheme = tensor_of(call, "x"), call.scalars.get("quantization")
    k = x.shape[-1]
    if x.dtype in (FP8, U8):
        return  # came quantized: the activation before it does both
    if scheme == "nvfp4" and k % 16 == 0:
        yield Equivalent(
            name=f"fp4_quantize_k{k}",
            op_type="quantization",
            api="flashinfer.quantization.fp4_quantize",
            prefix="fp4_quantize",
            tensors={"input": fact(x.dtype, TOKENS, k), "global_scale": fact(F32, 1)},
            scalars={
                "sf_vec_size": 16,
                "sf_use_ue8m0": False,
                "is_sf_swizzled_layout": False,
                "is_sf_8x4_layout": False,
            },
            outputs=(fact(U8, TOKENS, k // 2), fact(U8, TOKENS, k // 16)),
            routed=True,
        )
    if scheme == "mxfp8" and k % 32 == 0:
        yield Equivalent(
            name=f"mxfp8_quantize_k{k}",
            op_type="quantization",
            api="flashinfer.quantization.mxfp8_quantize",
            prefix="mxfp8_quantize",
            tensors={"input": fact(x.dtype, TOKENS, k)},
            scalars={"is_sf_swizzled_layout": False, "alignment": 32},
            outputs=(fact(FP8, TOKENS, k), fact(U8, TOKENS, k // 32)),
            routed=True,
        )


FAMILY = Family("quantize", (LINEAR,), _equivalents)
