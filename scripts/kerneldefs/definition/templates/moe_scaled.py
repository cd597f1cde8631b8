"""Mixtures of experts in MXFP8, MXFP4 and NVFP4, with biases, a clamp and a gate's slope.

FlashInfer's templates of the same functions know NVFP4 and FP8 in blocks of 128, and plain SwiGLU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from kerneldefs.capture.observe.ops import ROUTINGS
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Evidence, Received, View
from kerneldefs.definition.own import OwnTemplate, Retarget
from kerneldefs.definition.templates.moe import PER_TENSOR
from kerneldefs.definition.views import argument

CAUSE = "flashinfer/trace/templates/moe.py (0.6.18): no MX formats, biases or clamps"
# Routings that the reference computes (references/parts/routing.py).
ROUTED = (
    *("default", "renormalize", "renormalize_naive", "ds", "topk"),
    *("sigmoid", "sigmoid_renorm", "minimax2"),
)


@dataclasses.dataclass(frozen=True)
class Format:
    """Formats of hidden states and weights: numbers a byte of each, and columns of a scale.

    `words` says both in names; `hidden` is the dtype of hidden states. The callers of `padded`
    formats round widths up, and take fewer columns out than they give.
    """

    words: str
    hidden: str
    packed: int
    block: int
    scaled: bool = True  # hidden states have scales
    factors: bool = False  # each expert's products have factors
    padded: bool = False

    @property
    def tensors(self) -> bool:
        """Whether scales are of whole tensors, in place of blocks."""
        return self.block == 0

    @property
    def hidden_size(self) -> str:
        """Return the axis of hidden states' width."""
        return "padded_hidden_size" if self.padded else "hidden_size"

    @property
    def width(self) -> str:
        """Return the axis of the width between the two products."""
        return "padded_intermediate_size" if self.padded else "intermediate_size"


_BYTES, _E4M3 = "uint8", "float8_e4m3fn"
MXFP8 = Format("mxfp8", _E4M3, 1, 32)
MXFP4 = Format("mxfp8_mxfp4", _E4M3, 2, 32, padded=True)
MXFP4_BF16 = Format("bf16_mxfp4", "bfloat16", 2, 32, scaled=False, padded=True)
NVFP4 = Format("nvfp4", _BYTES, 2, 16, factors=True)
FP8 = Format("fp8_per_tensor", _E4M3, 1, 0, scaled=False, factors=True)


@dataclasses.dataclass(frozen=True)
class Form:
    """What tells one such mixture from another, sizes apart; `output` is of padded formats."""

    format: Format
    routing: str
    top_k: int
    groups: tuple[int, int] | None = None  # of DeepSeek's routing: all, and those chosen from
    biased: bool = False  # both products
    clamped: bool = False
    output: int = 0

    @property
    def prefix(self) -> str:
        """Return the start of the names."""
        kind = self.format.words
        words = [kind if kind.endswith("tensor") else f"{kind}_block_scale"]
        words += ["biased"] * self.biased + ["clamped"] * self.clamped
        return "_".join(["moe", *words, self.routing, "routing"])


_EACH = ("num_local_experts",)
_PAIRS = "pairs of E2M1 codes, the first in the low half of a byte"
_UP = "Up projections, then gates"


def template(form: Form) -> OwnTemplate:
    """Return the template of a form."""
    kind = form.format
    hidden = "num_packed_hidden" if kind.packed == 2 else kind.hidden_size
    inner = "num_packed_intermediate" if kind.packed == 2 else kind.width
    coded = f": {_PAIRS}." if kind.packed == 2 else "."
    return OwnTemplate(
        op_type="moe",
        name_prefix=form.prefix,
        description=_description(form),
        tags=("backend:trtllm", "moe", f"quantization:{_tag(kind)}", "status:unverified"),
        axes=_axes(form),
        inputs={
            "routing_logits": (("seq_len", "num_experts"), "Scores of the experts."),
            "routing_bias": (("num_experts",), "Added for choosing experts, not to weigh them."),
            "hidden_states": (
                ("seq_len", hidden if kind.hidden == _BYTES else kind.hidden_size),
                f"Hidden states{coded if kind.hidden == _BYTES else '.'}",
            ),
            **_scale("hidden_states_scale", ("seq_len", "num_hidden_blocks"), kind, kind.scaled),
            "gemm1_weights": ((*_EACH, "gemm1_out_size", hidden), f"{_UP}{coded}"),
            **_scale("gemm1_weights_scale", (*_EACH, "gemm1_out_size", "num_hidden_blocks"), kind),
            "gemm1_bias": ((*_EACH, "gemm1_out_size"), f"{_UP}: added to the first product."),
            "gemm1_alpha": (_EACH, "A gate is gate * sigmoid(alpha * gate)."),
            "gemm1_beta": (_EACH, "Added to the up projection."),
            "gemm1_clamp_limit": (_EACH, "Gates are at most this, up projections within +- it."),
            "gemm2_weights": ((*_EACH, kind.hidden_size, inner), f"Down projections{coded}"),
            **_scale("gemm2_weights_scale", (*_EACH, kind.hidden_size, "num_inner_blocks"), kind),
            "gemm2_bias": ((*_EACH, kind.hidden_size), "Added to the second product."),
            **{name: (_EACH, text) for name, text in _factors(kind).items()},
            "local_expert_offset": ("int32", "The first expert on this rank."),
            "routed_scaling_factor": ("float32", "Factor of the chosen experts' weights."),
        },
        outputs={
            "output": (
                ("seq_len", "output_size" if kind.padded else "hidden_size"),
                "bfloat16",
                "Weighted sum of this rank's experts.",
            )
        },
        constraints=(),
        reference="moe_scaled",
        constants={
            "ROUTING": form.routing,
            "TOP_K": form.top_k,
            "N_GROUP": form.groups[0] if form.groups else 1,
            "TOPK_GROUP": form.groups[1] if form.groups else 1,
            "OUTPUT_SIZE": form.output,
        },
        params=_params(kind),
        optional=(
            *("routing_bias", "gemm1_bias", "gemm1_alpha", "gemm1_beta", "gemm1_clamp_limit"),
            *("gemm2_bias", "routed_scaling_factor", *_factors(kind)),
        ),
    )


def _description(form: Form) -> str:
    text = f"Gated experts of one rank, with {form.routing} routing, in {form.format.words}."
    if not form.format.tensors:
        text += " Weights and scales are in logical order, as before the kernel's shuffling."
    return f"{text} Widths are padded." if form.format.padded else text


def _tag(kind: Format) -> str:
    return "fp8" if kind.tensors else kind.words.rpartition("_")[2]


def _axes(form: Form) -> dict[str, tuple[str | None, str]]:
    grouped = {"n_group": ("ng", "Groups of experts."), "topk_group": ("kg", "Groups chosen from.")}
    kind, padding = form.format, ", with padding" * form.format.padded
    packed = kind.packed == 2
    axes: dict[str, tuple[str | None, str] | None] = {
        "seq_len": (None, "Number of tokens."),
        "num_experts": ("", "Experts of all ranks."),
        "top_k": ("topk", "Experts of a token."),
        **(grouped if form.groups else {}),
        "num_local_experts": ("e", "Experts on one rank."),
        kind.hidden_size: ("h", f"Width of a hidden state{padding}."),
        kind.width: ("i", f"Width between the two products{padding}."),
        "gemm1_out_size": ("", "Twice that."),
        "num_packed_hidden": ("", "Bytes of a row of first weights.") if packed else None,
        "num_packed_intermediate": ("", "Bytes of a row of second weights.") if packed else None,
        "num_hidden_blocks": None if kind.tensors else ("", "Scales of a row of first weights."),
        "num_inner_blocks": None if kind.tensors else ("", "Scales of a row of second weights."),
        "output_size": ("", "Columns that are not padding.") if kind.padded else None,
    }
    return {name: axis for name, axis in axes.items() if axis is not None}


def _scale(
    name: str, dims: tuple[str, ...], kind: Format, wanted: bool = True
) -> dict[str, tuple[tuple[str, ...], str]]:
    if kind.tensors or not wanted:
        return {}
    what = "Exponents of two, with 127 for one" if kind.block == 32 else "Scales in E4M3"
    return {name: (dims, f"{what}: one for each {kind.block} numbers.")}


def _factors(kind: Format) -> dict[str, str]:
    """Return each expert's factors, by the reference's names."""
    if not kind.factors:
        return {}
    return {
        "output1_scale_scalar": "Factor of the first product, after the gate.",
        "output1_scale_gate_scalar": "Factor of the gates, before their sigmoid.",
        "output2_scale_scalar": "Factor of the second product.",
    }


def _params(kind: Format) -> Mapping[str, str]:
    """Return FlashInfer's names of the factors where they are others."""
    if not kind.tensors:
        return {}
    return {name: name.replace("_scale_", "_scales_", 1) for name in _factors(kind)}


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
    call = evidence.call
    received: dict[str, Received] = {}
    mx = call.tensors["hidden_states"].dtype != _BYTES
    for name in ("hidden_states_scale", "gemm1_weights_scale", "gemm2_weights_scale"):
        if mx and name in call.tensors:
            fact = dataclasses.replace(call.tensors[name], dtype=_BYTES)
            received[name] = Received(tensor=fact)
    return View(received, {}, _UNDERSTOOD)


def _given(evidence: Evidence) -> View:
    return View(understood=_UNDERSTOOD)


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
