"""Mixtures of experts in MXFP8, MXFP4 and NVFP4, with biases, a clamp and a gate's slope.

FlashInfer's templates of the same functions know NVFP4 and FP8 in blocks of 128, and plain SwiGLU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from kerneldefs.definition.own import OwnTemplate

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


BYTES, _E4M3 = "uint8", "float8_e4m3fn"
MXFP8 = Format("mxfp8", _E4M3, 1, 32)
MXFP4 = Format("mxfp8_mxfp4", _E4M3, 2, 32, padded=True)
MXFP4_BF16 = Format("bf16_mxfp4", "bfloat16", 2, 32, scaled=False, padded=True)
NVFP4 = Format("nvfp4", BYTES, 2, 16, factors=True)
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
                ("seq_len", hidden if kind.hidden == BYTES else kind.hidden_size),
                f"Hidden states{coded if kind.hidden == BYTES else '.'}",
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
