"""Attention with sinks, and experts in scaled formats, true or with one mistake."""

from __future__ import annotations

import dataclasses
from typing import Any

from kerneldefs.definition.own import OwnTemplate
from kerneldefs.definition.templates import moe_scaled, trtllm
from kerneldefs.definition.templates.moe_scaled import Form, Format
from kerneldefs.derive.families import sinks

from .own_cases import FP8, mistaken, of

_HEADS = {"num_qo_heads": 4, "num_kv_heads": 2, "head_dim": 16, "page_size": 4}
_TRTLLM = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "page_size": 8, "kv_cache_dim": 2}


def called(case: dict[str, Any], function: str) -> dict[str, Any]:
    """Return a definition whose run() gives a function its inputs by their names."""
    names = list(case["inputs"])
    given = ", ".join(f"{name}={name}" for name in names)
    run = f"\n\ndef run({', '.join(names)}):\n    return {function}({given})\n"
    return {**case, "reference": case["reference"] + run}


def attention(template: OwnTemplate, window: int = -1) -> dict[str, Any]:
    """Return a definition of attention with sinks, and a window where one is given."""
    sizes = _TRTLLM if template.name_prefix.startswith("trtllm") else _HEADS
    case = of(template, sizes, sink="float32", sinks="float32")
    if sizes is _TRTLLM:
        case = called({**case, "name": case["name"].replace("_h4", "_sinks_h4")}, "attention")
    if window < 0:
        return case
    seen = case["reference"].replace("WINDOW_LEFT = -1", f"WINDOW_LEFT = {window}")
    return {**case, "name": case["name"].replace("_h4", f"_win{window}_h4"), "reference": seen}


_EXPERTS = {
    **{"num_experts": 8, "num_local_experts": 6, "top_k": 3, "n_group": 4, "topk_group": 2},
    **{"hidden_size": 64, "padded_hidden_size": 64, "output_size": 40},
    **{"intermediate_size": 32, "padded_intermediate_size": 32, "gemm1_out_size": 64},
    **{"num_packed_hidden": 32, "num_packed_intermediate": 16},
}


def experts(kind: Format, routing: str, **said: Any) -> dict[str, Any]:
    """Return a definition of experts in a format, with what their form has beyond it."""
    grouped = (4, 2) if routing == "ds" else None
    form = Form(kind, routing, 3, grouped, output=40 if kind.padded else 0, **said)
    blocks = {"num_hidden_blocks": 64, "num_inner_blocks": 32}
    sizes = {name: n // kind.block for name, n in blocks.items()} if kind.block else {}
    codes = "int8" if kind.packed == 2 else FP8
    scales = "int8" if kind.block == 32 else FP8
    hidden = {"uint8": "int8"}.get(kind.hidden, kind.hidden)
    dtypes = {"hidden_states": hidden, "gemm1_weights": codes, "gemm2_weights": codes}
    each = ("bias", "gemm1_alpha", "gemm1_beta", "gemm1_clamp", "output1", "output2")
    template = moe_scaled.template(form)
    for name in template.inputs:
        if name.endswith("weights_scale") or name == "hidden_states_scale":
            dtypes[name] = scales
        elif any(word in name for word in each):
            dtypes[name] = "float32"
    return called(of(_having(template, form), _EXPERTS | sizes, **dtypes), "mixture")


def _having(template: OwnTemplate, form: Form) -> OwnTemplate:
    """Return a template without the inputs that calls of a form do not give."""
    lacking = set() if form.clamped else {"gemm1_clamp_limit", "gemm1_alpha", "gemm1_beta"}
    lacking |= set() if form.biased else {"gemm1_bias", "gemm2_bias"}
    inputs = {name: slot for name, slot in template.inputs.items() if name not in lacking}
    return dataclasses.replace(template, inputs=inputs)


DECODE, PREFILL = attention(sinks.DECODE), attention(sinks.PREFILL, window=3)
CAPTURED = attention(trtllm.DECODE, window=2)
CONTEXT = attention(trtllm.CONTEXT)
MXFP8 = experts(moe_scaled.MXFP8, "minimax2")
MXFP4 = experts(moe_scaled.MXFP4, "renormalize", biased=True, clamped=True)
BF16 = experts(moe_scaled.MXFP4_BF16, "topk", biased=True, clamped=True)
NVFP4 = experts(moe_scaled.NVFP4, "sigmoid_renorm", clamped=True)
TENSORS = experts(moe_scaled.FP8, "ds")
# FlashInfer's own template of the same, whose names put the groups last.
OTHERS = {
    **experts(moe_scaled.NVFP4, "ds"),
    "name": "moe_fp4_block_scale_ds_routing_topk3_e6_h64_i32_act3_ng4_kg2",
}
TRUE = {
    "experts in nvfp4, as FlashInfer names them": OTHERS,
    "decode with sinks": DECODE,
    "prefill with sinks and a window": PREFILL,
    "trtllm decode with sinks and a window": CAPTURED,
    "trtllm context with sinks": CONTEXT,
    "experts in mxfp8": MXFP8,
    "experts in mxfp4": MXFP4,
    "experts in mxfp4 of bfloat16": BF16,
    "experts in nvfp4": NVFP4,
    "experts in fp8 of whole tensors": TENSORS,
    **{
        f"experts, {routing}": experts(moe_scaled.FP8, routing)
        for routing in ("default", "renormalize_naive", "sigmoid")
    },
}
FALSE = {
    "a sink for a value": mistaken(
        DECODE, "softmax(logits, dim=-1)[..., :-1]", "softmax(logits[..., :-1], dim=-1)"
    ),
    "the sink is scaled": mistaken(PREFILL, "sink = sinks.float()", "sink = scale * sinks.float()"),
    "a sink left out of the sum": mistaken(
        DECODE, "torch.logsumexp(logits,", "torch.logsumexp(logits[..., :-1],"
    ),
    "a window too many": {**PREFILL, "name": PREFILL["name"].replace("win3", "win2")},
    "sinks of the first head": mistaken(CONTEXT, "sinks.float()", "(0 * sinks + sinks[0]).float()"),
    "scales of the first block": mistaken(
        MXFP8, "factors.repeat", "(0 * factors + factors[..., :1]).repeat"
    ),
    "exponents from 128": mistaken(MXFP8, "- 127.0", "- 128.0"),
    "the second code first": mistaken(
        MXFP4, "[codes % 16, codes // 16]", "[codes // 16, codes % 16]"
    ),
    "gates within the limit": mistaken(MXFP4, "gate.clamp(max=limit)", "gate.clamp(-limit, limit)"),
    "no bias of the second product": mistaken(MXFP4, "of(gemm2_bias, local, 0.0)", "0.0"),
    "alpha forgotten": mistaken(BF16, "of(gemm1_alpha, local, 1.0) * gate", "gate"),
    "beta forgotten": mistaken(BF16, "(up + of(gemm1_beta, local, 0.0))", "up"),
    "a gate's factor after its sigmoid": mistaken(
        NVFP4, "gate = gate * of(output1_scale_gate_scalar, local, 1.0)\n", "gate = gate * 1.0\n"
    ),
    "weights that do not sum to one": mistaken(
        NVFP4, "ROUTING = 'sigmoid_renorm'", "ROUTING = 'sigmoid'"
    ),
    "any group in nvfp4": mistaken(OTHERS, "if n_group > 1", "if n_group > 9"),
    "any group": mistaken(TENSORS, "if n_group > 1", "if n_group > 9"),
    "experts of the next rank": mistaken(TENSORS, "local_expert_offset + local", "local + 1"),
    "unscaled": mistaken(TENSORS, "weights * scaling", "weights"),
}
