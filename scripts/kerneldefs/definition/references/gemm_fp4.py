import torch
from kerneldefs.definition.references.parts.e2m1 import from_e2m1
from kerneldefs.definition.references.parts.swizzled import from_128x4


def _numbers(codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    numbers = from_e2m1(codes)
    rows, width = numbers.shape
    scale = from_128x4(scales.view(torch.float8_e4m3fn).float(), rows, width // 16)[0]
    return numbers * scale.repeat_interleave(16, dim=1)


def run(
    A: torch.Tensor,
    B: torch.Tensor,
    a_descale: torch.Tensor,
    b_descale: torch.Tensor,
    alpha: torch.Tensor,
) -> torch.Tensor:
    # B and its scales are transposed: a column holds one row of the weight.
    left = _numbers(A, a_descale)
    right = _numbers(B.T.contiguous(), b_descale.T.contiguous())
    return (torch.matmul(left, right.T) * alpha).to(torch.bfloat16)
