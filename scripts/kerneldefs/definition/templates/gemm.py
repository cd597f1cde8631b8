"""Matrix products whose quantized operands FlashInfer's templates read wrongly."""

from __future__ import annotations

from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Evidence
from kerneldefs.definition.own import OwnTemplate, Retarget, always, by_name
from kerneldefs.definition.views import argument

_GEMM = "flashinfer/trace/templates/gemm.py (0.6.18)"
_CODES = "pairs of E2M1 codes, the first in the low half of a byte"
_TILES = "a scale in E4M3 for each 16 numbers, in tiles of 128 rows and 4 columns"
_ONE = ("", "One number.")
_ROWS = (None, "Number of rows of A.")
_COLUMNS = ("N", "Number of columns of B.")
_INNER = ("K", "Numbers that a product sums over.")

FP4 = OwnTemplate(
    op_type="gemm_fp4",
    name_prefix="gemm_fp4",
    description=(
        "C = alpha * A @ B of NVFP4 matrices. B and its scales are transposed: a column holds one "
        "row of the weight."
    ),
    tags=("quantization:nvfp4", "status:unverified"),
    axes={
        "M": _ROWS,
        "N": _COLUMNS,
        "K": _INNER,
        "K_packed": ("", "Bytes of K numbers."),
        "M_padded": (None, "Rows of A, rounded up to 128."),
        "N_padded": ("", "Columns of B, rounded up to 128."),
        "num_blocks": ("", "Scales of K numbers, rounded up to 4."),
        "one": _ONE,
    },
    inputs={
        "A": (("M", "K_packed"), f"Left: {_CODES}."),
        "B": (("K_packed", "N"), f"Right: {_CODES}."),
        "a_descale": (("M_padded", "num_blocks"), f"Of A: {_TILES}."),
        "b_descale": (("num_blocks", "N_padded"), f"Of B: {_TILES}."),
        "alpha": (("one",), "Factor of the product."),
    },
    outputs={"C": (("M", "N"), "bfloat16", "The product.")},
    constraints=("M_padded == (M + 127) // 128 * 128",),
    reference="gemm_fp4",
    params={"A": "a", "B": "b"},
)
FP8 = OwnTemplate(
    op_type="gemm_fp8",
    name_prefix="gemm_fp8",
    description=(
        "C = alpha * A @ B of FP8 matrices. The weight's columns are in blocks of 128; its rows "
        "are in logical order, as before the kernel's shuffling."
    ),
    tags=("quantization:fp8", "status:unverified"),
    axes={
        "M": _ROWS,
        "N": _COLUMNS,
        "K": _INNER,
        "num_blocks": ("", "Blocks of the weight's columns."),
        "block_size": ("", "Columns of a block."),
    },
    inputs={
        "A": (("M", "K"), "Left."),
        "B": (("num_blocks", "N", "block_size"), "The weight."),
        "alpha": ((), "Factor of the product."),
    },
    outputs={"C": (("M", "N"), "bfloat16", "The product.")},
    constraints=(),
    reference="gemm_fp8",
    params={"A": "a", "B": "b"},
)
SEGMENTS = OwnTemplate(
    op_type="segment_gemm",
    name_prefix="segment_gemm_run",
    description="Rows in segments, each multiplied with its own weight.",
    tags=("status:unverified",),
    axes={
        "total_rows": (None, "Number of rows of all segments."),
        "batch_size": (None, "Number of segments."),
        "len_indptr": (None, "Number of segments + 1."),
        "K": ("k", _INNER[1]),
        "N": ("n", "Width of the result."),
    },
    inputs={
        "x": (("total_rows", "K"), "Rows."),
        "weights": (("batch_size", "K", "N"), "A weight for each segment."),
        "seg_indptr": (("len_indptr",), "Where each segment starts; the last is their number."),
    },
    outputs={"output": (("total_rows", "N"), None, "Products.")},
    constraints=("len_indptr == batch_size + 1", "total_rows == seg_indptr[-1].item()"),
    reference="segment_gemm_run",
)
_SCALES = ("row", "row_group", "{}", "column", "K_tiles", "num_groups")
GROUPS = OwnTemplate(
    op_type="gemm_fp4",
    name_prefix="grouped_gemm_nt_masked",
    description=(
        "For each group, alpha * lhs @ rhs.T of NVFP4 matrices. Rows past a group's count are left "
        "as they were, and zero in the reference."
    ),
    tags=("moe", "quantization:nvfp4", "status:unverified"),
    axes={
        "max_m": (None, "Rows of each group, counted or not."),
        "N": ("n", "Width of the result."),
        "K": ("k", _INNER[1]),
        "num_groups": ("g", "Number of groups."),
        "K_packed": ("", "Bytes of K numbers."),
        "row": ("", "Rows of a tile of scales, modulo 32."),
        "row_group": ("", "Rows of a tile of scales, divided by 32."),
        "column": ("", "Columns of a tile of scales."),
        "m_tiles": (None, "Tiles of 128 rows of lhs."),
        "n_tiles": ("", "Tiles of 128 rows of rhs."),
        "K_tiles": ("", "Tiles of 4 scales."),
        "one": _ONE,
    },
    inputs={
        "lhs": (("max_m", "K_packed", "num_groups"), f"Left: {_CODES}."),
        "lhs_scale": (tuple(d.format("m_tiles") for d in _SCALES), f"Of lhs: {_TILES}."),
        "rhs": (("N", "K_packed", "num_groups"), f"Right: {_CODES}."),
        "rhs_scale": (tuple(d.format("n_tiles") for d in _SCALES), f"Of rhs: {_TILES}."),
        "masked_m": (("num_groups",), "How many rows of each group count."),
        "alpha": (("one", "one", "num_groups"), "Factor of each group's product."),
    },
    outputs={"out": (("max_m", "N", "num_groups"), "bfloat16", "Products.")},
    constraints=("m_tiles == (max_m + 127) // 128",),
    reference="grouped_gemm_nt_masked",
    params={"lhs": "lhs#0", "lhs_scale": "lhs#1", "rhs": "rhs#0", "rhs_scale": "rhs#1"},
)


def _fp4(evidence: Evidence) -> OwnTemplate | None:
    if evidence.scalar("use_nvfp4") is not True or evidence.scalar("block_size") != 16:
        raise Quarantine("reference-denied", "gemm_fp4: only NVFP4 has a reference of ours")
    return FP4


def _rows_of_weights(evidence: Evidence) -> OwnTemplate:
    if evidence.scalar("weight_column_major") is not False:
        raise Quarantine("argument-not-modelled", "the weights are in column-major order")
    return SEGMENTS


def _nvfp4(evidence: Evidence) -> OwnTemplate:
    words = [evidence.scalar(name) for name in ("ab_dtype", "sf_dtype", "c_dtype", "sf_vec_size")]
    if words != ["float4_e2m1fn", "float8_e4m3fn", "bfloat16", 16]:
        raise Quarantine("reference-denied", f"grouped_gemm_nt_masked: no reference for {words}")
    return GROUPS


ROWS: dict[str, Retarget] = {
    "mm_fp4": Retarget(
        f"{_GEMM}: reads packed codes as integers, and B's along the wrong axis",
        _fp4,
        by_name("use_nvfp4", "block_size"),
        "A",
        lambda e: {"K": 2 * argument(e.call, "a").shape[-1]},
    ),
    "mm_fp8": Retarget(
        f"{_GEMM}: takes the weight's blocks for rows, and leaves out alpha",
        always(FP8),
        by_name(),
        "A",
    ),
    "SegmentGEMMWrapper.run": Retarget(
        f"{_GEMM}: declares no offsets, so every row is multiplied with the first weight",
        _rows_of_weights,
        by_name("batch_size", "weight_column_major", "seg_lens"),
        "x",
    ),
    "grouped_gemm_nt_masked": Retarget(
        f"{_GEMM}: applies no scales, and declares them nowhere",
        _nvfp4,
        by_name("ab_dtype", "sf_dtype", "c_dtype", "sf_vec_size", "alpha_dtype"),
        "lhs",
        lambda e: {"K": 2 * argument(e.call, "lhs#0").shape[1]},
    ),
}
