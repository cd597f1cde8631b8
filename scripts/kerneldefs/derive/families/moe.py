"""Fused mixtures of experts: routing and experts together, by routing method and weight format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from kerneldefs.capture.observe.ops import FUSED_MOE
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.own import OwnTemplate
from kerneldefs.definition.templates import moe_scaled
from kerneldefs.derive.equivalent import (
    BF16,
    F32,
    FP8,
    QUANTIZATION,
    TOKENS,
    U8,
    Equivalent,
    Family,
    Options,
    Underivable,
    fact,
)
from kerneldefs.derive.experts import Experts, read
from kerneldefs.derive.scaled_experts import scaled

_SWIGLU = 3  # flashinfer.tllm_enums.ActivationType (0.6.18)
# Routings that FlashInfer has a true template for, with weights in blocks of FP8 or FP4. Those of
# "topk" weigh every expert alike, its kernel by the logits (trtllm_fused_moe_runner.cu, 0.6.18).
_TEMPLATES = ("default", "renormalize", "ds", "llama4", "renormalize_naive")
# Routings that our reference computes, for plain weights (references/parts/routing.py).
_PLAIN = (
    "default",
    "renormalize",
    "renormalize_naive",
    "ds",
    "topk",
    "sigmoid",
    "sigmoid_renorm",
    "minimax2",
)


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    experts, scheme = read(call), str(call.scalars["quantization"])
    if scheme not in _FORMATS:
        raise Underivable("moe-format", f"{call.layer}: no template for experts of {scheme}")
    yield _FORMATS[scheme](experts, call)
    padded = any(tensor.shape[-1] != experts.hidden for tensor in call.outputs[:1])
    if QUANTIZATION in options.variants and not padded:  # with another format's padding
        for other, make in _FORMATS.items():
            if other != scheme:
                try:
                    yield dataclasses.replace(make(experts, call), variant=QUANTIZATION)
                except Underivable:
                    continue  # no published quantization of these sizes


_LOCAL = ("num_local_experts",)
PLAIN = OwnTemplate(
    op_type="moe",
    name_prefix="moe_bf16",
    description="Mixture of experts of one rank, with its routing; weights are not quantized.",
    tags=("moe", "status:unverified"),
    axes={
        "seq_len": (None, "Number of tokens."),
        "num_experts": ("", "Experts of all ranks."),
        "top_k": ("topk", "Experts of a token."),
        "n_group": ("ng", "Groups of experts."),
        "topk_group": ("kg", "Groups that a token's experts come from."),
        "num_local_experts": ("e", "Experts of this rank, the first ones."),
        "hidden_size": ("h", "Width of a token."),
        "intermediate_size": ("i", "Width of an expert on one rank."),
        "gemm1_out_size": ("", "Rows of the first matrix: up and gate projections."),
    },
    inputs={
        "routing_logits": (("seq_len", "num_experts"), "Router's output."),
        "routing_bias": (("num_experts",), "Added for choosing experts, not for weighing them."),
        "hidden_states": (("seq_len", "hidden_size"), "Tokens."),
        "gemm1_weights": ((*_LOCAL, "gemm1_out_size", "hidden_size"), "Up, then gate."),
        "gemm2_weights": ((*_LOCAL, "hidden_size", "intermediate_size"), "Down projections."),
    },
    outputs={"output": (("seq_len", "hidden_size"), None, "Sum over this rank's experts.")},
    constraints=(),
    reference="moe_bf16_bias",
)


def _without(template: OwnTemplate, axes: tuple[str, ...], inputs: tuple[str, ...]) -> OwnTemplate:
    return dataclasses.replace(
        template,
        axes={k: v for k, v in template.axes.items() if k not in axes},
        inputs={k: v for k, v in template.inputs.items() if k not in inputs},
    )


def _require_plain(experts: Experts, call: KernelCall, what: str) -> None:
    if not experts.plain:
        reason = f"{call.layer}: no {what} template with a bias or a clamp"
        raise Underivable("moe-activation", reason)


def _plain(experts: Experts, call: KernelCall) -> Equivalent:
    _require_plain(experts, call, "unquantized")
    if experts.routing not in _PLAIN:
        raise Underivable("moe-routing", f"{call.layer}: no reference routes as {experts.routing}")
    own = _without(
        dataclasses.replace(
            PLAIN,
            name_prefix=f"moe_bf16_{experts.routing}_routing",
            reference="moe_bf16_bias" if experts.bias else "moe_bf16",
            constants={
                "ROUTING": experts.routing,
                "TOP_K": experts.top_k,
                "N_GROUP": experts.groups if experts.grouped else 1,
                "TOPK_GROUP": experts.topk_groups if experts.grouped else 1,
                "SCALING": experts.scaling,
                "ACTIVATION": str(call.scalars["activation"]),
            },
        ),
        () if experts.grouped else ("n_group", "topk_group"),
        () if experts.bias else ("routing_bias",),
    )
    sizes = {"top_k": experts.top_k}
    if experts.grouped:
        sizes |= {"n_group": experts.groups, "topk_group": experts.topk_groups}
    return Equivalent(
        name=f"moe_bf16_{experts.routing}_routing_{experts.sizes}",
        op_type="moe",
        api="flashinfer.fused_moe.trtllm_bf16_moe",
        prefix=own.name_prefix,
        tensors={
            **experts.router(),
            "hidden_states": fact(BF16, TOKENS, experts.hidden),
            "gemm1_weights": fact(BF16, experts.local, experts.rows, experts.hidden),
            "gemm2_weights": fact(BF16, experts.local, experts.hidden, experts.width),
        },
        outputs=(fact(BF16, TOKENS, experts.hidden),),
        own=own,
        sizes=sizes,
        main="hidden_states",
        template=False,
        routed=True,
    )


def _require_template(experts: Experts, call: KernelCall, block: int, what: str) -> None:
    if experts.routing not in _TEMPLATES:
        raise Underivable("moe-routing", f"{call.layer}: no {what} template: {experts.routing}")
    if not experts.gated:
        raise Underivable("moe-activation", f"{call.layer}: no {what} template without a gate")
    if experts.hidden % block or experts.width % block:
        sizes = f"{experts.hidden} and {experts.width}"
        raise Underivable("moe-blocks", f"{call.layer}: {sizes} are no multiples of {block}")


def _fp8_block(experts: Experts, call: KernelCall) -> Equivalent:
    _require_plain(experts, call, "FP8")
    _require_template(experts, call, 128, "FP8")
    e, h, i, rows = experts.local, experts.hidden, experts.width, experts.rows
    return Equivalent(
        name=f"moe_fp8_block_scale_{experts.routing}_routing_{experts.sizes}",
        op_type="moe",
        api="flashinfer.fused_moe.trtllm_fp8_block_scale_moe",
        prefix=f"moe_fp8_block_scale_{experts.routing}_routing",
        tensors={
            **experts.router(),
            "hidden_states": fact(FP8, TOKENS, h),
            "hidden_states_scale": fact(F32, h // 128, TOKENS),
            "gemm1_weights": fact(FP8, e, rows, h),
            "gemm1_weights_scale": fact(F32, e, rows // 128, h // 128),
            "gemm2_weights": fact(FP8, e, h, i),
            "gemm2_weights_scale": fact(F32, e, h // 128, i // 128),
        },
        scalars={**experts.common(), "fp8_quantization_type": 1},
        outputs=(fact(BF16, TOKENS, h),),
        routed=True,
    )


def _fp8_tensor(experts: Experts, call: KernelCall) -> Equivalent:
    return scaled(experts, call, moe_scaled.FP8)


def _mxfp8(experts: Experts, call: KernelCall) -> Equivalent:
    return scaled(experts, call, moe_scaled.MXFP8)


def _mxfp4(experts: Experts, call: KernelCall) -> Equivalent:
    """Kernels of sm_100 quantize hidden states to MXFP8; others take them as they are."""
    quantized = call.scalars.get("activations") == "mxfp8"
    return scaled(experts, call, moe_scaled.MXFP4 if quantized else moe_scaled.MXFP4_BF16)


def _nvfp4(experts: Experts, call: KernelCall) -> Equivalent:
    if not experts.plain or experts.routing not in _TEMPLATES:  # FlashInfer's know neither
        return scaled(experts, call, moe_scaled.NVFP4)
    _require_template(experts, call, 16, "FP4")
    e, h, i, rows = experts.local, experts.hidden, experts.width, experts.rows
    groups = f"_ng{experts.groups}_kg{experts.topk_groups}" if experts.grouped else ""
    name = f"moe_fp4_block_scale_{experts.routing}_routing_topk{experts.top_k}_e{e}_h{h}_i{i}"
    return Equivalent(
        name=f"{name}_act{_SWIGLU}{groups}",
        op_type="moe",
        api="flashinfer.fused_moe.trtllm_fp4_block_scale_moe",
        prefix=f"moe_fp4_block_scale_{experts.routing}_routing",
        tensors={
            **experts.router(),
            "hidden_states": fact(U8, TOKENS, h // 2),
            "hidden_states_scale": fact(FP8, TOKENS, h // 16),
            "gemm1_weights": fact(U8, e, rows, h // 2),
            "gemm1_weights_scale": fact(FP8, e, rows, h // 16),
            "gemm2_weights": fact(U8, e, h, i // 2),
            "gemm2_weights_scale": fact(FP8, e, h, i // 16),
        },
        scalars={**experts.common(), "activation_type": _SWIGLU},
        outputs=(fact(BF16, TOKENS, h),),
        routed=True,
    )


_FORMATS: dict[str, Callable[[Experts, KernelCall], Equivalent]] = {
    "none": _plain,
    "fp8_block": _fp8_block,
    "fp8_tensor": _fp8_tensor,
    "nvfp4": _nvfp4,
    "mxfp8": _mxfp8,
    "mxfp4": _mxfp4,
}
FAMILY = Family("moe", (FUSED_MOE,), _equivalents)
