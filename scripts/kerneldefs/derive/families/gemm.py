"""Linear layers: C = A @ B.T, by the format of the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from kerneldefs.capture.observe.ops import LINEAR
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.own import OwnTemplate
from kerneldefs.derive.equivalent import (
    BF16,
    F32,
    FP8,
    TOKENS,
    U8,
    UNFUSED,
    Equivalent,
    Family,
    Options,
    Underivable,
    fact,
    short,
    tensor_of,
)

BLOCK = 128  # rows and columns that share a scale in FlashInfer's groupwise template
GEMM = OwnTemplate(
    op_type="gemm",
    name_prefix="gemm",
    description="Matrix product of activations with a weight, C = A @ B.T.",
    tags=("status:unverified",),
    axes={
        "M": (None, "Number of tokens."),
        "N": ("n", "Output features on one rank."),
        "K": ("k", "Input features on one rank."),
    },
    inputs={"A": (("M", "K"), "Activations."), "B": (("N", "K"), "Weight.")},
    outputs={"C": (("M", "N"), None, "Product.")},
    constraints=(),
    reference="gemm",
)
GEMM_BIAS = dataclasses.replace(
    GEMM,
    description="Matrix product of activations with a weight, and a bias: C = A @ B.T + bias.",
    inputs={**GEMM.inputs, "bias": (("N",), "Bias of the output features.")},
    reference="gemm_bias",
)


GEMM_FP8_BLOCK = OwnTemplate(
    op_type="gemm_fp8",
    name_prefix="gemm_fp8_nt_groupwise",
    description=(
        "Matrix product C = A @ B.T in FP8, with a scale for each 128 numbers of a row of A and "
        "for each 128 x 128 numbers of B."
    ),
    tags=("quantization:fp8", "status:unverified"),
    axes={
        "M": (None, "Number of tokens."),
        "N": ("n", "Output features on one rank."),
        "K": ("k", "Input features on one rank."),
        "num_n_blocks": ("", "Blocks of 128 output features."),
        "num_k_blocks": ("", "Blocks of 128 input features."),
    },
    inputs={
        "a": (("M", "K"), "Activations."),
        "b": (("N", "K"), "Weight."),
        "a_scale": (("M", "num_k_blocks"), "Scales of the activations."),
        "b_scale": (("num_n_blocks", "num_k_blocks"), "Scales of the weight."),
    },
    outputs={"out": (("M", "N"), None, "Product.")},
    constraints=(),
    reference="gemm_fp8_block",
)


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    weight, x = tensor_of(call, "weight"), tensor_of(call, "x")
    n, k = weight.shape
    packed = 2 if x.dtype == U8 else 1  # FP4 numbers in a byte
    product = call.outputs[0] if call.outputs else None
    if k != x.shape[-1] * packed or (product and product.shape[-1] != n):
        given = f"{list(x.shape)} by {list(weight.shape)}"
        found = f" to {list(product.shape)}" if product else ""
        raise Underivable("gemm-shape", f"{call.layer} multiplies {given}{found}")
    output = product.dtype if product else x.dtype
    scheme = str(call.scalars.get("quantization", "none"))
    bias = bool(call.scalars.get("bias"))
    yield _gemm(scheme, n, k, (x.dtype, weight.dtype, output), bias, call)
    if UNFUSED in options.variants:
        for width in dict.fromkeys(str(call.scalars.get("shards") or "").split(",")):
            if width:
                dtypes = (x.dtype, weight.dtype, output)
                shard = _gemm(scheme, int(width), k, dtypes, bias, call)
                yield dataclasses.replace(shard, variant=UNFUSED)


def _gemm(
    scheme: str, n: int, k: int, dtypes: tuple[str, str, str], bias: bool, call: KernelCall
) -> Equivalent:
    if scheme == "none":
        return _plain(n, k, dtypes, bias)
    if bias:
        raise Underivable("gemm-bias", f"{call.layer}: no {scheme} product with a bias is known")
    if scheme == "fp8_block":
        blocks = (call.scalars.get("block_n"), call.scalars.get("block_k"))
        return _fp8_block(n, k, blocks, dtypes[2])
    if scheme == "fp8_tensor":
        return _fp8_tensor(n, k, dtypes[2])
    if scheme == "mxfp8":
        return _mxfp8(n, k, dtypes[2])
    if scheme == "nvfp4":
        return _nvfp4(n, k, dtypes[2])
    raise Underivable("gemm-format", f"{call.layer}: no product of weights of format {scheme}")


def _plain(n: int, k: int, dtypes: tuple[str, str, str], bias: bool) -> Equivalent:
    a, b, c = dtypes
    suffixes = ["bias"] if bias else []
    if len({a, b, c}) > 1:
        suffixes += [short(a), short(b), short(c)]
    elif a != BF16:
        suffixes.append(short(a))
    own = GEMM_BIAS if bias else GEMM
    if len({a, b, c}) > 1 and not bias:
        own = dataclasses.replace(own, reference="gemm_mixed", constants={"OUTPUT": c})
    suffix = "".join(f"_{part}" for part in suffixes)
    kernel = "flashinfer.gemm.mm_bf16" if {a, b} == {BF16} and c in (BF16, F32) else ""
    tensors = {"A": fact(a, TOKENS, k), "B": fact(b, n, k)}
    if bias:
        tensors["bias"] = fact(b, n)
    return Equivalent(
        name=f"gemm_n{n}_k{k}{suffix}",
        op_type="gemm",
        api=kernel,
        prefix="gemm",
        tensors=tensors,
        outputs=(fact(c, TOKENS, n),),
        own=own,
        suffixes=tuple(suffixes),
        main="A",
    )


def _fp8_block(n: int, k: int, blocks: tuple[object, object], output: str) -> Equivalent:
    if blocks != (BLOCK, BLOCK) or k % BLOCK:
        raise Underivable("gemm-blocks", f"blocks of {blocks} and K {k} do not fit 128 x 128")
    return Equivalent(
        name=f"gemm_fp8_nt_groupwise_n{n}_k{k}",
        op_type="gemm_fp8",
        api="flashinfer.gemm.gemm_fp8_nt_groupwise",
        prefix="gemm_fp8_nt_groupwise",
        tensors={
            "a": fact(FP8, TOKENS, k),
            "b": fact(FP8, n, k),
            "a_scale": fact(F32, TOKENS, k // BLOCK),
            "b_scale": fact(F32, -(-n // BLOCK), k // BLOCK),
        },
        outputs=(fact(output, TOKENS, n),),
        own=dataclasses.replace(GEMM_FP8_BLOCK, constants={"OUTPUT": output}),
        main="a",
        routed=True,
    )


def _fp8_tensor(n: int, k: int, output: str) -> Equivalent:
    return Equivalent(
        name=f"bmm_fp8_N{n}_K{k}",
        op_type="bmm_fp8",
        api="flashinfer.gemm.bmm_fp8",
        prefix="bmm_fp8",
        tensors={
            "A": fact(FP8, 1, TOKENS, k),
            "B": fact(FP8, 1, k, n),
            "A_scale": fact(F32, 1),
            "B_scale": fact(F32, 1),
        },
        scalars={"dtype": f"torch.{output}"},
        outputs=(fact(output, 1, TOKENS, n),),
        routed=True,
    )


def _mxfp8(n: int, k: int, output: str) -> Equivalent:
    return Equivalent(
        name=f"gemm_mxfp8_N{n}_K{k}",
        op_type="gemm_mxfp8",
        api="flashinfer.gemm.mm_mxfp8",
        prefix="gemm_mxfp8",
        tensors={
            "a": fact(FP8, 128, k),
            "b": fact(FP8, k, n),
            "a_descale": fact(U8, 128 * k // 32),
            "b_descale": fact(U8, -(-n // 128) * 128 * k // 32),
        },
        outputs=(fact(output, 128, n),),
        routed=True,
    )


def _nvfp4(n: int, k: int, output: str) -> Equivalent:
    blocks, columns = -(-k // 64) * 4, -(-n // BLOCK) * BLOCK  # tiles of 128 rows by 4 scales
    return Equivalent(
        name=f"gemm_fp4_N{n}_K{k}",
        op_type="gemm_fp4",
        api="flashinfer.gemm.mm_fp4",
        prefix="gemm_fp4",
        tensors={
            "a": fact(U8, TOKENS, k // 2),
            "b": fact(U8, k // 2, n),
            "a_descale": fact(U8, 128, blocks),
            "b_descale": fact(U8, blocks, columns),
            "alpha": fact(F32, 1),
        },
        scalars={"block_size": 16, "use_nvfp4": True, "use_8x4_sf_layout": False},
        outputs=(fact(output, TOKENS, n),),
        sizes={"K": k},
        template=False,
        routed=True,
    )


FAMILY = Family("gemm", (LINEAR,), _equivalents)
