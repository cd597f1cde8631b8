"""Which calls of mixtures of experts the scaled formats describe, and how they fill them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from kerneldefs.capture.observe.ops import ROUTINGS
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Evidence, Received, View
from kerneldefs.definition.own import OwnTemplate, Retarget
from kerneldefs.definition.templates.moe import PER_TENSOR
from kerneldefs.definition.templates.moe_scaled import (
    BYTES,
    FP8,
    MXFP4,
    MXFP4_BF16,
    MXFP8,
    NVFP4,
    ROUTED,
    Form,
    Format,
    template,
)
from kerneldefs.definition.views import argument

CAUSE = "flashinfer/trace/templates/moe.py (0.6.18): no MX formats, biases or clamps"


def _fp4(evidence: Evidence) -> OwnTemplate | None:
    """FlashInfer's template is of NVFP4 hidden states, weights without bias, and plain SwiGLU."""
    hidden, weights = (argument(evidence.call, n) for n in ("hidden_states", "gemm1_weights"))
    scales = argument(evidence.call, "gemm1_weights_scale")
    block = 2 * weights.shape[-1] // scales.shape[-1]
    for kind in (MXFP4, MXFP4_BF16, NVFP4):
        if (kind.hidden, kind.block) == (hidden.dtype, block):
            if kind == NVFP4 and not _beyond_swiglu(evidence):
                return None
            return template(_form(evidence, kind))
    return None


def _beyond_swiglu(evidence: Evidence) -> bool:
    further = ("gemm1_bias", "gemm1_alpha", "gemm1_beta", "gemm1_clamp_limit", "gemm2_bias")
    return any(name in evidence.call.tensors for name in further)


def _fp8_blocks(evidence: Evidence) -> OwnTemplate | None:
    """FlashInfer's template is of scales for blocks of 128 x 128."""
    mx = evidence.scalar("fp8_quantization_type") == 2  # Fp8QuantizationType.MxFp8
    return template(_form(evidence, MXFP8)) if mx else None


def _fp8_tensors(evidence: Evidence) -> OwnTemplate:
    if evidence.scalar("use_routing_scales_on_input"):
        raise Quarantine("argument-not-modelled", "experts' weights are factors of their input")
    form = _form(evidence, FP8)
    plain = "routing_bias" not in evidence.call.tensors and form.routing == "default"
    if plain and evidence.scalar("routed_scaling_factor") is None:
        return dataclasses.replace(PER_TENSOR, constants={"TOP_K": form.top_k})
    return template(form)


def _form(evidence: Evidence, kind: Format) -> Form:
    routing = ROUTINGS.get(_int(evidence, "routing_method_type"), "")
    if routing not in ROUTED:
        raise Quarantine("argument-not-modelled", f"no reference routes as {routing or 'this'}")
    output, tensors = evidence.call.outputs[:1], evidence.call.tensors
    width = output[0].shape[-1] if output else argument(evidence.call, "gemm2_weights").shape[-2]
    groups = (_int(evidence, "n_group"), _int(evidence, "topk_group")) if routing == "ds" else None
    return Form(
        kind,
        routing,
        _int(evidence, "top_k"),
        groups,
        biased="gemm1_bias" in tensors,
        clamped="gemm1_clamp_limit" in tensors,
        output=width if kind.padded else 0,
    )


def _int(evidence: Evidence, name: str) -> int:
    value = evidence.scalar(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Quarantine("no-evidence", f"{evidence.call.op} gave no {name}")
    return value


def _bytes(evidence: Evidence) -> View:
    """Exponents of two are bytes, which the kernels' callers see as E4M3."""
    call, received = evidence.call, _factor(evidence)
    mx = call.tensors["hidden_states"].dtype != BYTES
    for name in ("hidden_states_scale", "gemm1_weights_scale", "gemm2_weights_scale"):
        if mx and name in call.tensors:
            fact = dataclasses.replace(call.tensors[name], dtype=BYTES)
            received[name] = Received(tensor=fact)
    return View(received, {}, _UNDERSTOOD)


def _given(evidence: Evidence) -> View:
    return View(_factor(evidence), {}, _UNDERSTOOD)


def _factor(evidence: Evidence) -> dict[str, Received]:
    """A factor of one is none, whether it is said or not."""
    said = evidence.scalar("routed_scaling_factor") not in (None, 1.0)
    return {} if said else {"routed_scaling_factor": Received()}


_UNDERSTOOD = frozenset(
    [
        *("num_experts", "local_num_experts", "top_k", "n_group", "topk_group"),
        *("intermediate_size", "routing_method_type", "fp8_quantization_type"),
        "use_routing_scales_on_input",
    ]
)


def _sizes(evidence: Evidence) -> Mapping[str, int]:
    """Return the const axes that no input shows."""
    names: tuple[str, ...] = ("intermediate_size", "top_k")
    names += ("n_group", "topk_group") if evidence.scalar("routing_method_type") == 2 else ()
    sizes = {name: _int(evidence, name) for name in names}
    sizes["padded_intermediate_size"] = sizes["intermediate_size"]
    if evidence.call.outputs:
        sizes["output_size"] = evidence.call.outputs[0].shape[-1]
    return sizes


ROWS: dict[str, Retarget] = {
    "trtllm_fp4_block_scale_moe": Retarget(CAUSE, _fp4, _bytes, "hidden_states", _sizes),
    "trtllm_fp8_block_scale_moe": Retarget(CAUSE, _fp8_blocks, _bytes, "hidden_states", _sizes),
    "trtllm_fp8_per_tensor_scale_moe": Retarget(
        "flashinfer/trace/templates/moe.py (0.6.18): swaps the scales of gates and linear half, "
        "and knows one routing of nine",
        _fp8_tensors,
        _given,
        "hidden_states",
        _sizes,
    ),
}
