"""Quantization to FP4 and MXFP8, alone or after an activation or a norm.

Scales in rows only, except where the number of rows is fixed: a layout in tiles pads to 128 rows,
which no axis of a definition can say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from kerneldefs.definition.evidence import Evidence
from kerneldefs.definition.own import OwnTemplate, Retarget, always, by_name
from kerneldefs.definition.views import argument

_QUANTIZATION = "flashinfer/trace/templates/quantize.py (0.6.18)"
_NORM = "flashinfer/trace/templates/norm.py (0.6.18)"
_CODES = "Pairs of E2M1 codes, the first in the low half of a byte."
_E4M3_BYTES = "A scale for each 16 numbers: the bits of an E4M3 number."
_GLOBAL = "Factor of the scales, usually 448 * 6 / the largest number."
_INPUT = "Numbers to quantize."
_ONE = ("", "One number.")

NVFP4 = OwnTemplate(
    op_type="quantization",
    name_prefix="nvfp4_quantize",
    description="Quantization to NVFP4: E2M1 numbers and an E4M3 scale for each 16 of a row.",
    tags=("quantization:nvfp4", "status:unverified"),
    axes={
        "M": (None, "Number of rows."),
        "K": ("k", "Width of a row."),
        "one": _ONE,
        "num_packed": ("", "Bytes of a row, two numbers each."),
        "num_blocks": ("", "Scales of a row."),
    },
    inputs={"input": (("M", "K"), _INPUT), "global_scale": (("one",), _GLOBAL)},
    outputs={
        "quantized": (("M", "num_packed"), "int8", _CODES),
        "scales": (("M", "num_blocks"), "int8", _E4M3_BYTES),
    },
    constraints=(),
    reference="nvfp4_quantize",
    params={"input": "a", "global_scale": "a_global_sf"},
)
FP4 = dataclasses.replace(NVFP4, name_prefix="fp4_quantize", params={})
MXFP4 = dataclasses.replace(
    NVFP4,
    name_prefix="mxfp4_quantize",
    description="Quantization to MXFP4: E2M1 numbers and a power of two for each 32 of a row.",
    tags=("quantization:mxfp4", "status:unverified"),
    axes={k: v for k, v in NVFP4.axes.items() if k != "one"},
    inputs={"input": NVFP4.inputs["input"]},
    outputs={
        "quantized": NVFP4.outputs["quantized"],
        "scales": (("M", "num_blocks"), "int8", "Exponents, 127 for one; rounded up."),
    },
    reference="mxfp4_quantize",
    params={"input": "a"},
)
MXFP8 = dataclasses.replace(
    MXFP4,
    name_prefix="mxfp8_quantize",
    description=(
        "Quantization to MXFP8: E4M3 numbers and a power of two for each 32 of a row. The function "
        "returns the scales as one flat array."
    ),
    tags=("quantization:mxfp8", "status:unverified"),
    axes={k: v for k, v in MXFP4.axes.items() if k != "num_packed"},
    outputs={
        "quantized": (("M", "K"), "float8_e4m3fn", "Quantized numbers."),
        "scales": MXFP4.outputs["scales"],
    },
    reference="mxfp8_quantize",
    params={},
)
_GATED = {"K_doubled": ("k", "Width of a row: gates, then the numbers that they scale.")}
SILU_NVFP4 = dataclasses.replace(
    FP4,
    name_prefix="silu_and_mul_nvfp4_quantize",
    description="SiLU of the first half of a row times the second half, quantized to NVFP4.",
    tags=("fused", *FP4.tags),
    axes={"M": FP4.axes["M"], **_GATED, **{k: FP4.axes[k] for k in ("one",)}}
    | {k: FP4.axes[k] for k in ("num_packed", "num_blocks")},
    inputs={"input": (("M", "K_doubled"), _INPUT), "global_scale": FP4.inputs["global_scale"]},
    reference="silu_and_mul_nvfp4_quantize",
)
EXPERTS = OwnTemplate(
    op_type="activation_quantize",
    name_prefix="silu_and_mul_scaled_nvfp4_experts_quantize",
    description=(
        "SiLU of the first half of each expert's rows times the second half, quantized to NVFP4. "
        "Rows past an expert's count are left as they were, and zero in the reference."
    ),
    tags=("fused", "moe", "quantization:nvfp4", "status:unverified"),
    axes={
        "B": ("e", "Number of experts."),
        "M": ("m", "Rows of each expert, counted or not."),
        "K_doubled": ("k", _GATED["K_doubled"][1]),
        "num_packed": ("", "Bytes of a row, two numbers each."),
        "row": ("", "Rows of a tile of scales, modulo 32."),
        "row_group": ("", "Rows of a tile of scales, divided by 32."),
        "tiles_down": ("", "Tiles of 128 rows."),
        "column": ("", "Columns of a tile of scales."),
        "tiles_across": ("", "Tiles of 4 scales."),
    },
    inputs={
        "a": (("B", "M", "K_doubled"), _INPUT),
        "mask": (("B",), "How many rows of each expert count."),
        "a_global_sf": (("B",), _GLOBAL),
    },
    outputs={
        "a_fp4": (("M", "num_packed", "B"), "int8", _CODES),
        "a_sf": (
            ("row", "row_group", "tiles_down", "column", "tiles_across", "B"),
            "float8_e4m3fn",
            "A scale for each 16 numbers, in tiles of 128 rows and 4 columns.",
        ),
    },
    constraints=(),
    reference="silu_and_mul_scaled_nvfp4_experts_quantize",
)
RMSNORM = OwnTemplate(
    op_type="rmsnorm",
    name_prefix="rmsnorm_fp4quant",
    description="RMSNorm, quantized to NVFP4. Epsilon is fixed at 1e-6.",
    tags=("fused", "quantization:nvfp4", "status:unverified"),
    axes={
        "num_tokens": (None, "Number of rows."),
        "hidden_size": ("h", "Width of a row."),
        "one": _ONE,
        "num_packed": ("", "Bytes of a row, two numbers each."),
        "num_blocks": ("", "Scales of a row."),
    },
    inputs={
        "input": (("num_tokens", "hidden_size"), "Hidden states."),
        "weight": (("hidden_size",), "Factor of each column."),
        "global_scale": (("one",), _GLOBAL),
    },
    outputs={
        "y_fp4": (("num_tokens", "num_packed"), "int8", _CODES),
        "block_scale": (("num_tokens", "num_blocks"), "float8_e4m3fn", "A scale for 16 numbers."),
    },
    constraints=(),
    reference="rmsnorm_fp4quant",
)
_ROWS = ("num_tokens", "hidden_size")
ADD_RMSNORM = dataclasses.replace(
    RMSNORM,
    name_prefix="add_rmsnorm_fp4quant",
    description="RMSNorm of input + residual, quantized to NVFP4. Epsilon is fixed at 1e-6.",
    inputs={
        "input": RMSNORM.inputs["input"],
        "residual": (_ROWS, "Added first; the function writes the sum to it."),
        "weight": RMSNORM.inputs["weight"],
        "global_scale": RMSNORM.inputs["global_scale"],
    },
    outputs={**RMSNORM.outputs, "residual_out": (_ROWS, None, "The sum.")},
    reference="add_rmsnorm_fp4quant",
)


def _row_sizes(width: int, block: int) -> Mapping[str, int]:
    return {"num_packed": width // 2, "num_blocks": width // block}


def _widths(name: str, block: int, parts: int = 1) -> Callable[[Evidence], Mapping[str, int]]:
    return lambda e: _row_sizes(argument(e.call, name).shape[-1] // parts, block)


def _expert_sizes(evidence: Evidence) -> Mapping[str, int]:
    _, rows, width = argument(evidence.call, "a").shape
    return {
        "num_packed": width // 4,
        "row": 32,
        "row_group": 4,
        "tiles_down": -(-rows // 128),
        "column": 4,
        "tiles_across": -(-width // 128),
    }


def _where(template: OwnTemplate, **expected: object) -> Callable[[Evidence], OwnTemplate | None]:
    """Choose a template for calls with certain arguments; others are FlashInfer's."""

    def choose(evidence: Evidence) -> OwnTemplate | None:
        fits = all(evidence.scalar(name) == value for name, value in expected.items())
        return template if fits else None

    return choose


_LINEAR = 2  # SfLayout.layout_linear (flashinfer/tllm_enums.py, 0.6.18)
_TIES = "rounds ties between E2M1 numbers down, where the instruction rounds them to even"
ROWS: dict[str, Retarget] = {
    "fp4_quantize": Retarget(
        f"{_QUANTIZATION}: {_TIES}; declares scales in rows as one flat array",
        _where(FP4, is_sf_swizzled_layout=False, sf_vec_size=16, sf_use_ue8m0=False),
        by_name("is_sf_swizzled_layout", "is_sf_8x4_layout", "sf_vec_size", "sf_use_ue8m0"),
        "input",
        _widths("input", 16),
    ),
    "nvfp4_quantize": Retarget(
        f"{_QUANTIZATION}: {_TIES}; declares scales in rows as one flat array",
        _where(NVFP4, sfLayout=_LINEAR, sf_vec_size=16),
        by_name("sfLayout", "sf_vec_size"),
        "input",
        _widths("a", 16),
    ),
    "mxfp4_quantize": Retarget(
        f"{_QUANTIZATION}: rounds E8M0 scales down, where the kernel rounds up; {_TIES}",
        _where(MXFP4, sfLayout=_LINEAR),
        by_name("sfLayout"),
        "input",
        _widths("a", 32),
    ),
    "mxfp8_quantize": Retarget(
        f"{_QUANTIZATION}: returns scales in rows, declared as one flat array",
        _where(MXFP8, is_sf_swizzled_layout=False, alignment=32, sf_swizzle_layout=None),
        by_name("is_sf_swizzled_layout", "alignment", "sf_swizzle_layout"),
        "input",
        _widths("input", 32),
    ),
    "silu_and_mul_nvfp4_quantize": Retarget(
        f"{_QUANTIZATION}: {_TIES}; declares scales in rows as one flat array",
        _where(SILU_NVFP4, is_sf_swizzled_layout=False, sf_vec_size=16),
        by_name("is_sf_swizzled_layout", "is_sf_8x4_layout", "sf_vec_size"),
        "input",
        _widths("input", 16, parts=2),
    ),
    "silu_and_mul_scaled_nvfp4_experts_quantize": Retarget(
        "flashinfer/trace/templates/activation.py (0.6.18): packs rounded integers, scales by one",
        always(EXPERTS),
        by_name(),
        "a",
        _expert_sizes,
    ),
    "rmsnorm_fp4quant": Retarget(
        f"{_NORM}: packs rounded integers, which are no E2M1 codes; scales the numbers twice",
        _where(RMSNORM, is_sf_swizzled_layout=False, block_size=16, scale_format=None),
        by_name("is_sf_swizzled_layout", "block_size"),
        "input",
        _widths("input", 16),
    ),
    "add_rmsnorm_fp4quant": Retarget(
        f"{_NORM}: packs rounded integers, which are no E2M1 codes; scales the numbers twice",
        _where(ADD_RMSNORM, is_sf_swizzled_layout=False, block_size=16, scale_format=None),
        by_name("is_sf_swizzled_layout", "block_size"),
        "input",
        _widths("input", 16),
    ),
}
