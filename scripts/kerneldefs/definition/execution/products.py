"""Matrix products once more: of plain, quantized and segmented operands."""

from __future__ import annotations

from collections.abc import Iterator
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


_NUMBERS = tuple(sign * size for sign in (1, -1) for size in E2M1)  # of codes 0 to 15
# The two numbers of each byte as float32, seen as one integer: looked up at once.
_PAIRS = (
    torch.tensor([[_NUMBERS[byte % 16], _NUMBERS[byte // 16]] for byte in range(256)])
    .view(torch.int64)
    .flatten()
)
# Large matrices are converted in pieces that stay in the processor's cache, four times as fast.
_PIECE = 1 << 20  # numbers


def _rows_of_a_piece(width: int) -> int:
    return max(1, _PIECE // max(1, width))


def _decoded(codes: Any) -> Any:
    """Return the numbers of packed codes in float32, which is exact."""
    found = codes.contiguous().view(torch.uint8)
    pairs = _PAIRS.index_select(0, found.flatten().int()).view(torch.float32)
    return pairs.view(*found.shape[:-1], -1)


def e2m1(codes: Any) -> Any:
    """Return the numbers of packed codes in float64."""
    flat = codes.contiguous().flatten().split(_PIECE)
    numbers = torch.cat([_decoded(piece).double() for piece in flat])
    return numbers.view(*codes.shape[:-1], -1)


def e4m3(codes: Any) -> Any:
    """Return numbers of float8_e4m3fn in float32: those that float16's bits would be, times 2^8.

    Both have a sign, then the exponent (4 and 5 bits, whose biases differ by 8), then the mantissa
    (3 and 10 bits). Seven times as fast as torch's conversion; a NaN, which no reference may
    return, becomes 480.
    """
    if codes.dtype != torch.float8_e4m3fn:
        return codes.float()
    code = codes.view(torch.uint8).to(torch.int16)
    bits = ((code & 0x80) << 8) | ((code & 0x7F) << 7)
    return bits.view(torch.float16).float() * 256


def transposed(left: Any, right: Any) -> Any:
    """Return left [m, K] times the transpose of right [n, K], in float64."""
    wide = left.double()
    pieces = right.split(_rows_of_a_piece(right.shape[-1]))
    return torch.cat([torch.matmul(wide, piece.double().mT) for piece in pieces], dim=-1)


def nvfp4_matrix(codes: Any, scales: Any) -> Any:
    """Return the numbers of codes [rows, K / 2] with E4M3 scales in tiles, in float64."""
    return torch.cat([piece.double() for piece in _nvfp4_pieces(codes, scales)])


def _nvfp4_pieces(codes: Any, scales: Any) -> Iterator[Any]:
    """Rows of a matrix in float32: a product of 2 and of 4 significant bits is exact there."""
    flat = e4m3(scales.contiguous().flatten().view(torch.float8_e4m3fn))
    rows, width = codes.shape[0], 2 * codes.shape[1]
    some = _rows_of_a_piece(width)
    places = _place(rows, width // 16)
    for part, place in zip(codes.split(some), places.split(some), strict=True):
        blocks = _decoded(part).unflatten(-1, (-1, 16))
        yield (blocks * flat[place][..., None]).flatten(-2)


def fp4(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """NVFP4 matrices, the second one transposed."""
    left = nvfp4_matrix(values["A"], values["a_descale"])
    right = _nvfp4_pieces(values["B"].mT, values["b_descale"].mT)
    products = [torch.matmul(left, piece.double().mT) for piece in right]
    expected = torch.cat(products, dim=-1) * values["alpha"].double()
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
