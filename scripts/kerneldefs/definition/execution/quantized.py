"""Quantization to four and eight bits, one number at a time, by search in the table of codes."""

from __future__ import annotations

import bisect
import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import rms_norm, silu

from kerneldefs.definition.execution.pairs import Definition, Pair, Run, Values

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
E4M3 = tuple(torch.arange(127, dtype=torch.uint8).view(torch.float8_e4m3fn).float().tolist())
# How near to halfway between two codes rounding errors may decide, relative to the number.
_CLOSE = 1e-5
_EXACT = (0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Code:
    """The place of the nearest number in a table, and whether it is beyond doubt."""

    place: int
    sure: bool


def nearest(size: float, table: Sequence[float]) -> Code:
    """Return the nearest number's place; halfway the even one, beyond the last one the last."""
    above = bisect.bisect_left(table, size)
    if above in (0, len(table)):
        return Code(min(above, len(table) - 1), True)
    middle = (table[above - 1] + table[above]) / 2
    sure = abs(size - middle) > _CLOSE * size
    if size == middle:
        return Code(above if above % 2 == 0 else above - 1, sure)
    return Code(above if size > middle else above - 1, sure)


def power(size: float) -> Code:
    """Return the exponent, 127 for one, of the smallest power of two that is not below."""
    if size == 0:
        return Code(0, True)
    fraction, exponent = math.frexp(size)  # size = fraction * 2**exponent, 0.5 <= fraction < 1
    return Code(exponent + 127 - (fraction == 0.5), 0.5 + _CLOSE < fraction < 1 - _CLOSE)


Block = tuple[list[Code], Code]  # of the numbers, signs apart, and of the scale


def nvfp4(block: list[float], scale: float) -> Block:
    """Quantize 16 numbers with a global scale."""
    code = nearest(scale * max(map(abs, block)) / 6, E4M3)
    factor = scale / E4M3[code.place] if code.place else 0.0
    return [nearest(abs(x) * factor, E2M1) for x in block], code


def mxfp4(block: list[float], _: float) -> Block:
    """Quantize 32 numbers with a power of two."""
    code = power(max(map(abs, block)) / 6)
    return [nearest(abs(x) / 2.0 ** (code.place - 127), E2M1) for x in block], code


def mxfp8(block: list[float], _: float) -> Block:
    """The same to eight bits."""
    code = power(max(map(abs, block)) / 448)
    return [nearest(abs(x) / 2.0 ** (code.place - 127), E4M3) for x in block], code


def _quantized(
    numbers: Any, how: Callable[[list[float], float], Block], width: int, scales: list[float]
) -> list[Any]:
    """Return codes with signs, whether they are sure, scale codes and whether those are.

    Numbers are [rows, columns]; there is a global scale for each row.
    """
    codes, sure, scale_codes, scale_sure = [], [], [], []
    for row, scale in zip(numbers.float().tolist(), scales, strict=True):
        for start in range(0, len(row), width):
            block = row[start : start + width]
            found, code = how(block, scale)
            codes += [(c.place, x < 0) for c, x in zip(found, block, strict=True)]
            sure += [c.sure and code.sure for c in found]
            scale_codes.append(code.place)
            scale_sure.append(code.sure)
    rows = len(scales)
    table = torch.tensor(codes).reshape(rows, -1, 2)
    return [table, *(torch.tensor(x).reshape(rows, -1) for x in (sure, scale_codes, scale_sure))]


def _pairs(outputs: list[Any], found: list[Any]) -> list[Pair]:
    """Pairs of packed E2M1 codes and bytes of scales."""
    table, sure, scales, scales_sure = found
    codes = table[..., 0] + 8 * table[..., 1]
    packed = codes[:, 0::2] + 16 * codes[:, 1::2]
    both = sure[:, 0::2] & sure[:, 1::2]
    got = [output.contiguous().view(torch.uint8) for output in outputs[:2]]
    return [
        Pair(got[0].reshape(packed.shape), packed, both, _EXACT),
        Pair(got[1], scales, scales_sure, _EXACT),
    ]


def _global(values: Values) -> float:
    return float(values["global_scale"])


def fp4(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """NVFP4 or MXFP4, of numbers or of what the gates in front of them let through."""
    numbers = values["input"]
    if "silu" in definition["name"]:
        numbers = _gated(numbers)
    rows = numbers.shape[0]
    if definition["name"].startswith("mxfp4"):
        found = _quantized(numbers, mxfp4, 32, [1.0] * rows)
    else:
        found = _quantized(numbers, nvfp4, 16, [_global(values)] * rows)
    return _pairs(run(*values.values()), found)


def _gated(numbers: Any) -> Any:
    gate, up = numbers.float().chunk(2, dim=-1)
    return (silu(gate) * up).to(numbers.dtype)


def fp8(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """MXFP8: the numbers that the codes stand for, and the bytes of the scales."""
    numbers = values["input"]
    table, sure, scales, scales_sure = _quantized(numbers, mxfp8, 32, [1.0] * numbers.shape[0])
    sizes = torch.tensor(E4M3)[table[..., 0]] * torch.where(table[..., 1] > 0, -1, 1)
    quantized, bytes_of_scales = run(*values.values())
    exact = Pair(quantized.float(), sizes, sure, _EXACT)
    return [exact, Pair(bytes_of_scales.view(torch.uint8), scales, scales_sure)]


def norm(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """torch.nn.functional.rms_norm, then NVFP4; codes that rounding may decide are left out."""
    hidden, total = values["input"].float(), None
    if "residual" in values:
        total = (hidden + values["residual"].float()).to(values["residual"].dtype)
        hidden = total.float()
    found = re.search(r"_eps([0-9.]+(?:e-?\d+)?)", definition["name"])
    epsilon = float(found[1]) if found else 1e-6
    hidden = rms_norm(hidden, hidden.shape[-1:], values["weight"].float(), epsilon)
    blocks = _quantized(hidden, nvfp4, 16, [_global(values)] * hidden.shape[0])
    outputs = run(*values.values())
    pairs = _pairs(outputs, blocks)
    return pairs if total is None else [*pairs, Pair(outputs[2], total)]


def experts(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Gated rows of experts, with scales looked up at their places in the tiles."""
    codes, tiles = run(*values.values())
    numbers, parts = _gated(values["a"]), []
    tiles = tiles.view(torch.uint8)
    counts = values["mask"].tolist()
    for expert in (e for e, count in enumerate(counts) if count):
        count, scale = counts[expert], float(values["a_global_sf"][expert])
        found = _quantized(numbers[expert, :count], nvfp4, 16, [scale] * count)
        rows, columns = torch.arange(count)[:, None], torch.arange(found[2].shape[1])
        at = (rows % 32, rows // 32 % 4, rows // 128, columns % 4, columns // 4)
        parts.append(_pairs([codes[:count, :, expert], tiles[..., expert][at]], found))
    return [_joined(pairs) for pairs in zip(*parts, strict=True)]


def _joined(pairs: Sequence[Pair]) -> Pair:
    got, expected, sure = (
        torch.cat([getattr(pair, name).flatten() for pair in pairs])
        for name in ("got", "expected", "sure")
    )
    return Pair(got, expected, sure, _EXACT)
