"""Mixtures of experts whose routing or scales FlashInfer's references get wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Evidence
from kerneldefs.definition.own import OwnTemplate, Retarget, by_name

_MOE = "flashinfer/trace/templates/moe.py (0.6.18)"
_UNIFORM = f"{_MOE}: weighs every expert alike, where the API unpacks weights from topk_ids"
_ONE_EACH = ("num_local_experts",)
_AXES: dict[str, tuple[str | None, str]] = {
    "seq_len": (None, "Number of tokens."),
    "top_k": ("topk", "Experts of a token."),
    "num_local_experts": ("e", "Experts on one rank."),
    "hidden_size": ("h", "Width of a hidden state."),
    "intermediate_size": ("i", "Width between the two products."),
    "gemm1_out_size": ("", "Twice that."),
}
_ROUTED = (("seq_len", "top_k"), "An expert in the upper half, its weight in bfloat16 below.")
_HIDDEN = (("seq_len", "hidden_size"), "Hidden states.")
_FIRST = (
    ("num_local_experts", "gemm1_out_size", "hidden_size"),
    "First weights: the linear half, then the gates.",
)
_SECOND = (("num_local_experts", "hidden_size", "intermediate_size"), "Second weights.")
_OFFSET = ("int32", "The first expert on this rank.")
_OUTPUT = {"output": (("seq_len", "hidden_size"), "bfloat16", "Weighted sum of the experts.")}
_TEXT = "SwiGLU experts of tokens whose experts and weights are given, packed in one number each."
_TAGS = ("backend:trtllm", "moe", "status:unverified")

BF16 = OwnTemplate(
    op_type="moe",
    name_prefix="trtllm_bf16_routed_moe",
    description=_TEXT,
    tags=_TAGS,
    axes=_AXES,
    inputs={
        "topk_ids": _ROUTED,
        "hidden_states": _HIDDEN,
        "gemm1_weights": _FIRST,
        "gemm2_weights": _SECOND,
        "local_expert_offset": _OFFSET,
    },
    outputs=_OUTPUT,
    constraints=(),
    reference="trtllm_bf16_routed_moe",
)
_FIRST_BLOCKS = ("num_gemm1_out_blocks", "num_hidden_blocks")
_SECOND_BLOCKS = ("num_hidden_blocks", "num_intermediate_blocks")
_BLOCKS = "A scale for each block of 128 x 128."
FP8_BLOCKS = dataclasses.replace(
    BF16,
    name_prefix="trtllm_fp8_block_scale_routed_moe",
    description=f"{_TEXT} FP8 with a scale for each block of 128.",
    tags=("quantization:fp8", *_TAGS),
    axes={
        **_AXES,
        "num_hidden_blocks": ("", "Blocks of hidden_size."),
        "num_gemm1_out_blocks": ("", "Blocks of gemm1_out_size."),
        "num_intermediate_blocks": ("", "Blocks of intermediate_size."),
    },
    inputs={
        "topk_ids": _ROUTED,
        "hidden_states": _HIDDEN,
        "hidden_states_scale": (("num_hidden_blocks", "seq_len"), "A scale for 128 numbers."),
        "gemm1_weights": _FIRST,
        "gemm1_weights_scale": ((*_ONE_EACH, *_FIRST_BLOCKS), _BLOCKS),
        "gemm2_weights": _SECOND,
        "gemm2_weights_scale": ((*_ONE_EACH, *_SECOND_BLOCKS), _BLOCKS),
        "local_expert_offset": _OFFSET,
    },
    reference="trtllm_fp8_block_scale_routed_moe",
)
_PAIRS = "pairs of E2M1 codes, the first in the low half of a byte"
_SIXTEEN = "A scale for each 16 numbers."
FP4 = dataclasses.replace(
    BF16,
    name_prefix="trtllm_fp4_block_scale_routed_moe",
    description=(
        f"{_TEXT} NVFP4. Weights and their scales are in logical order, as before the kernel's "
        "shuffling."
    ),
    tags=("quantization:nvfp4", *_TAGS),
    axes={
        **_AXES,
        "num_packed_hidden": ("", "Bytes of hidden_size numbers."),
        "num_packed_intermediate": ("", "Bytes of intermediate_size numbers."),
        "num_fp4_hidden_blocks": ("", "Scales of hidden_size numbers."),
        "num_fp4_intermediate_blocks": ("", "Scales of intermediate_size numbers."),
    },
    inputs={
        "topk_ids": _ROUTED,
        "hidden_states": (("seq_len", "num_packed_hidden"), f"Hidden states: {_PAIRS}."),
        "hidden_states_scale": (("seq_len", "num_fp4_hidden_blocks"), _SIXTEEN),
        "gemm1_weights": (
            (*_ONE_EACH, "gemm1_out_size", "num_packed_hidden"),
            f"First weights, the linear half, then the gates: {_PAIRS}.",
        ),
        "gemm1_weights_scale": (
            (*_ONE_EACH, "gemm1_out_size", "num_fp4_hidden_blocks"),
            _SIXTEEN,
        ),
        "gemm2_weights": (
            (*_ONE_EACH, "hidden_size", "num_packed_intermediate"),
            f"Second weights: {_PAIRS}.",
        ),
        "gemm2_weights_scale": (
            (*_ONE_EACH, "hidden_size", "num_fp4_intermediate_blocks"),
            _SIXTEEN,
        ),
        "output1_scale_scalar": (_ONE_EACH, "Factor of the first product, after SiLU."),
        "output1_scale_gate_scalar": (_ONE_EACH, "Factor of the gates, before SiLU."),
        "output2_scale_scalar": (_ONE_EACH, "Factor of the second product."),
        "local_expert_offset": _OFFSET,
    },
    reference="trtllm_fp4_block_scale_routed_moe",
)
_SCALARS = {
    "output1_scales_scalar": (_ONE_EACH, "Factor of the first product, after SiLU."),
    "output1_scales_gate_scalar": (_ONE_EACH, "Factor of the gates, before SiLU."),
}
PER_TENSOR_ROUTED = dataclasses.replace(
    BF16,
    name_prefix="trtllm_fp8_per_tensor_scale_routed_moe",
    description=f"{_TEXT} FP8 with a scale for each weight.",
    tags=("quantization:fp8", *_TAGS),
    inputs={
        "topk_ids": _ROUTED,
        "hidden_states": _HIDDEN,
        "gemm1_weights": _FIRST,
        **_SCALARS,
        "gemm2_weights": _SECOND,
        "output2_scales_scalar": (_ONE_EACH, "Factor of the second product."),
        "local_expert_offset": _OFFSET,
    },
    reference="trtllm_fp8_per_tensor_scale_routed_moe",
)
_EXPERTS = {"num_experts": ("", "Experts of all ranks.")}
PER_TENSOR = dataclasses.replace(
    PER_TENSOR_ROUTED,
    name_prefix="trtllm_fp8_per_tensor_scale_moe",
    description=(
        "Softmax over the routing logits, and the SwiGLU experts of the largest. FP8 with a scale "
        "for each weight."
    ),
    axes={**_AXES, **_EXPERTS},
    inputs={
        "routing_logits": (("seq_len", "num_experts"), "Scores of the experts."),
        **{k: v for k, v in PER_TENSOR_ROUTED.inputs.items() if k != "topk_ids"},
    },
    reference="trtllm_fp8_per_tensor_scale_moe",
)
MONO = dataclasses.replace(
    FP8_BLOCKS,
    name_prefix="mono_moe",
    description=(
        "Softmax over the router's logits, the largest made to sum to one, and their SwiGLU "
        "experts. FP8 with a scale for each block of 128 x 128; the kernel quantizes hidden states."
    ),
    tags=("moe", "quantization:fp8", "status:unverified"),
    axes={
        "seq_len": _AXES["seq_len"],
        "num_experts": ("e", "Experts."),
        "top_k": _AXES["top_k"],
        "hidden_size": _AXES["hidden_size"],
        "intermediate_size": _AXES["intermediate_size"],
        **{k: v for k, v in FP8_BLOCKS.axes.items() if "blocks" in k or k == "gemm1_out_size"},
    },
    inputs={
        "activations_in": _HIDDEN,
        "router_logits": (("seq_len", "num_experts"), "Scores of the experts."),
        "expert_weights_up": (
            ("num_experts", "gemm1_out_size", "hidden_size"),
            "First weights: the gates, then the linear half.",
        ),
        "expert_scales_up": (("num_experts", *_FIRST_BLOCKS), _BLOCKS),
        "expert_weights_down": (
            ("num_experts", "hidden_size", "intermediate_size"),
            "Second weights.",
        ),
        "expert_scales_down": (("num_experts", *_SECOND_BLOCKS), _BLOCKS),
    },
    reference="mono_moe",
)

_ROUTINGS = {1: "renormalize", 4: "renormalize_naive"}  # RoutingMethodType (tllm_enums.py, 0.6.18)
BF16_BLOCKS = dataclasses.replace(
    BF16,
    name_prefix="trtllm_bf16_moe_blocks",
    description=(
        "The experts of the largest routing logits, their weights made to sum to one. Weights are "
        "in blocks of columns, their rows in logical order, as before the kernel's shuffling."
    ),
    axes={
        **_AXES,
        "num_experts": ("", "Experts of all ranks."),
        "num_hidden_blocks": ("", "Blocks of hidden_size columns."),
        "num_intermediate_blocks": ("", "Blocks of intermediate_size columns."),
        "block_size": ("", "Columns of a block."),
    },
    inputs={
        "routing_logits": (("seq_len", "num_experts"), "Scores of the experts."),
        "hidden_states": _HIDDEN,
        "gemm1_weights": (
            (*_ONE_EACH, "num_hidden_blocks", "gemm1_out_size", "block_size"),
            "First weights: the linear half, then the gates.",
        ),
        "gemm2_weights": (
            (*_ONE_EACH, "num_intermediate_blocks", "hidden_size", "block_size"),
            "Second weights.",
        ),
        "local_expert_offset": _OFFSET,
    },
    reference="trtllm_bf16_moe_blocks",
)


def _if_blocks(evidence: Evidence) -> OwnTemplate | None:
    """FlashInfer's template has weights in rows, and the softmax over all experts."""
    if evidence.scalar("weight_layout") != 2:
        return None
    routing = _ROUTINGS.get(_int(evidence, "routing_method_type"))
    if routing is None:
        raise Quarantine("argument-not-modelled", "the routing is not one that sums to one")
    constants = {"ROUTING": routing, "TOP_K": _int(evidence, "top_k")}
    prefix = f"{BF16_BLOCKS.name_prefix}_{routing}"
    return dataclasses.replace(BF16_BLOCKS, name_prefix=prefix, constants=constants)


def _if_logical(template: OwnTemplate) -> Callable[[Evidence], OwnTemplate]:
    """Weights in blocks of columns have an axis more."""

    def choose(evidence: Evidence) -> OwnTemplate:
        if evidence.scalar("weight_layout") not in (None, 0):
            raise Quarantine("argument-not-modelled", "the weights are in blocks, not in rows")
        return template

    return choose


def _with_top_k(template: OwnTemplate) -> Callable[[Evidence], OwnTemplate]:
    def choose(evidence: Evidence) -> OwnTemplate:
        return dataclasses.replace(template, constants={"TOP_K": evidence.scalar("top_k")})

    return choose


_SIZES = ("num_experts", "local_num_experts", "intermediate_size", "weight_layout")
_GIVEN = by_name(*_SIZES, "top_k")
ROWS: dict[str, Retarget] = {
    "trtllm_bf16_moe": Retarget(
        f"{_MOE}: declares weights in rows, which may be in blocks, and one of eight routings",
        _if_blocks,
        by_name(*_SIZES, "top_k", "routing_method_type"),
        "hidden_states",
        lambda e: {n: _int(e, n) for n in ("intermediate_size", "top_k")},
    ),
    "trtllm_bf16_routed_moe": Retarget(_UNIFORM, _if_logical(BF16), _GIVEN, "hidden_states"),
    "trtllm_fp8_block_scale_routed_moe": Retarget(
        _UNIFORM, _if_logical(FP8_BLOCKS), _GIVEN, "hidden_states"
    ),
    "trtllm_fp4_block_scale_routed_moe": Retarget(
        _UNIFORM,
        _if_logical(FP4),
        _GIVEN,
        "hidden_states",
        lambda e: {"intermediate_size": _int(e, "intermediate_size")},
    ),
    "trtllm_fp8_per_tensor_scale_routed_moe": Retarget(
        f"{_MOE}: scales the linear half by the gates' scale and the gates by its",
        _if_logical(PER_TENSOR_ROUTED),
        _GIVEN,
        "hidden_states",
    ),
    "mono_moe": Retarget(
        f"{_MOE}: activates the last half of the first weights, the kernel the first",
        _with_top_k(MONO),
        _GIVEN,
        "activations_in",
    ),
}


def _int(evidence: Evidence, name: str) -> int:
    value = evidence.scalar(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Quarantine("no-evidence", f"{evidence.call.op} gave no {name}")
    return value
