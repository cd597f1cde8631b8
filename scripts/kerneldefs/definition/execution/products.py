"""Matrix products of quantized and of segmented operands, in float64."""

from __future__ import annotations

from typing import Any

import torch

from kerneldefs.definition.execution.attention import parts
from kerneldefs.definition.execution.pairs import Definition, Pair, Run, Values
from kerneldefs.definition.execution.quantized import E2M1


def _place(rows: int, columns: int) -> Any:
    """Return where each scale of a matrix lies in a flat array of tiles of 128 rows and 4 columns.

    NVIDIA's layout of block scales (cuBLAS documentation, "1D block scaling factors layout").
    """
    row, column = torch.arange(rows)[:, None], torch.arange(columns)
    tile = row // 128 * (-(-columns // 4)) + column // 4
    return tile * 512 + row % 32 * 16 + row % 128 // 32 * 4 + column % 4


def e2m1(codes: Any) -> Any:
    """Return the numbers of packed codes, a byte at a time."""
    table = [[sign * E2M1[code % 8] for sign in (1, -1)] for code in range(8)]
    number = [table[code % 8][code // 8] for code in range(16)]
    bytes_of_codes = codes.contiguous().view(torch.uint8)
    pairs = torch.tensor([[number[b % 16], number[b // 16]] for b in range(256)])
    return pairs[bytes_of_codes.long()].flatten(-2).double()


def nvfp4_matrix(codes: Any, scales: Any) -> Any:
    """Return the numbers of codes [rows, K / 2] with E4M3 scales in tiles."""
    numbers = e2m1(codes)
    rows, width = numbers.shape
    flat = scales.contiguous().flatten().view(torch.float8_e4m3fn).double()
    return numbers * flat[_place(rows, width // 16)].repeat_interleave(16, dim=1)


def fp4(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """NVFP4 matrices, the second one transposed."""
    left = nvfp4_matrix(values["A"], values["a_descale"])
    right = nvfp4_matrix(values["B"].mT, values["b_descale"].mT)
    expected = torch.matmul(left, right.mT) * values["alpha"].double()
    return [Pair(run(*values.values())[0], expected)]


def grouped_fp4(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Groups of NVFP4 matrices, as many rows of each as count."""
    got, (output,) = [], run(*values.values())
    expected = []
    for group, count in enumerate(values["masked_m"].tolist()):
        left, right = (
            nvfp4_matrix(
                values[name][..., group],
                values[f"{name}_scale"][..., group].permute(2, 4, 0, 1, 3),
            )
            for name in ("lhs", "rhs")
        )
        product = torch.matmul(left, right.mT) * values["alpha"][0, 0, group].double()
        expected.append(product[:count])
        got.append(output[:count, :, group])
    return [Pair(torch.cat(got), torch.cat(expected))]


def fp8_blocks(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """A weight in blocks of columns: a sum over the blocks."""
    left = values["A"].double()
    width = values["B"].shape[2]
    sums = [
        torch.matmul(left[:, i * width : (i + 1) * width], block.double().mT)
        for i, block in enumerate(values["B"])
    ]
    return [Pair(run(*values.values())[0], sum(sums) * values["alpha"].double())]


def segments(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """A weight for each segment of rows."""
    rows = zip(parts(values["seg_indptr"]), values["weights"].double(), strict=True)
    expected = torch.cat([torch.matmul(values["x"][part].double(), w) for part, w in rows])
    return [Pair(run(*values.values())[0], expected)]
