"""Experts in formats that only our own template describes: MX formats, clamps, whole tensors."""

from __future__ import annotations

from typing import Any

from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.templates import moe_scaled
from kerneldefs.definition.templates.moe_scaled import FP8, Form, Format
from kerneldefs.derive.equivalent import BF16, F32, TOKENS, Equivalent, Underivable, fact
from kerneldefs.derive.experts import Experts

_API = "flashinfer.fused_moe.trtllm_{}_moe"
_APIS = {
    moe_scaled.MXFP8: _API.format("fp8_block_scale"),
    moe_scaled.MXFP4: _API.format("fp4_block_scale"),
    moe_scaled.MXFP4_BF16: _API.format("fp4_block_scale"),
    moe_scaled.NVFP4: _API.format("fp4_block_scale"),
    FP8: _API.format("fp8_per_tensor_scale"),
}


def scaled(experts: Experts, call: KernelCall, kind: Format) -> Equivalent:
    """Return the call of one of FlashInfer's kernels with scaled weights."""
    where = call.layer
    if experts.routing not in moe_scaled.ROUTED:
        raise Underivable("moe-routing", f"{where}: no reference routes as {experts.routing}")
    if not experts.gated or experts.activation != "silu":
        raise Underivable("moe-activation", f"{where}: no {kind.words} experts without a gate")
    unit = kind.block or 1
    if experts.hidden % unit or experts.width % unit:
        both = f"{experts.hidden} and {experts.width}"
        raise Underivable("moe-blocks", f"{where}: {both} are no multiples of {unit}")
    if kind == FP8 and (experts.biased or experts.clamp or experts.alpha):
        raise Underivable("moe-activation", f"{where}: FP8 per tensor with a bias or a clamp")
    output = call.outputs[0].shape[-1] if call.outputs else experts.hidden
    form = Form(
        kind,
        experts.routing,
        experts.top_k,
        (experts.groups, experts.topk_groups) if experts.grouped else None,
        biased=experts.biased,
        clamped=experts.clamp is not None,
        output=output if kind.padded else 0,
    )
    own = moe_scaled.template(form)
    factor = experts.scaling if experts.scaling != 1.0 else None
    sizes = {kind.width: experts.width, "top_k": experts.top_k}
    if kind.padded:
        sizes["output_size"] = output
    if form.groups:
        sizes |= {"n_group": experts.groups, "topk_group": experts.topk_groups}
    return Equivalent(
        name=f"{form.prefix}_{experts.sizes}",
        op_type="moe",
        api=_APIS[kind],
        prefix=form.prefix,
        tensors=_tensors(experts, kind),
        scalars={"local_expert_offset": 0, "routed_scaling_factor": factor},
        outputs=(fact(BF16, TOKENS, output),),
        own=own,
        sizes=sizes,
        main="hidden_states",
        template=False,
        routed=True,
    )


def _tensors(experts: Experts, kind: Format) -> dict[str, Any]:
    e, h, i, rows = experts.local, experts.hidden, experts.width, experts.rows
    hidden = h // 2 if kind.hidden == "uint8" else h
    weights = "uint8" if kind.packed == 2 else "float8_e4m3fn"
    found = {
        **experts.router(),
        "hidden_states": fact(kind.hidden, TOKENS, hidden),
        "gemm1_weights": fact(weights, e, rows, h // kind.packed),
        "gemm2_weights": fact(weights, e, h, i // kind.packed),
    }
    if kind.block:
        scales = "uint8" if kind.block == 32 else "float8_e4m3fn"
        found["gemm1_weights_scale"] = fact(scales, e, rows, h // kind.block)
        found["gemm2_weights_scale"] = fact(scales, e, h, i // kind.block)
        if kind.scaled:
            found["hidden_states_scale"] = fact(scales, TOKENS, h // kind.block)
    if experts.biased:
        found |= {"gemm1_bias": fact(F32, e, rows), "gemm2_bias": fact(F32, e, h)}
    each = []
    if kind.factors:
        each += ["output1_scale_scalar", "output1_scale_gate_scalar", "output2_scale_scalar"]
        each = [name.replace("_scale_", "_scales_", 1) if kind == FP8 else name for name in each]
    each += ["gemm1_alpha", "gemm1_beta"] if experts.alpha else []
    each += ["gemm1_clamp_limit"] if experts.clamp else []
    return found | {name: fact(F32, e) for name in each}
