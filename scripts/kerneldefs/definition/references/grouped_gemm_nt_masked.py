import torch
from kerneldefs.definition.references.parts.e2m1 import from_e2m1


def _numbers(codes: torch.Tensor, tiles: torch.Tensor) -> torch.Tensor:
    # Codes [rows, K / 2, groups] and scales [32, 4, row tiles, 4, column tiles, groups].
    numbers = from_e2m1(codes.permute(2, 0, 1).contiguous())
    groups, rows, width = numbers.shape
    scales = tiles.float().permute(5, 2, 1, 0, 4, 3).reshape(groups, 128 * tiles.shape[2], -1)
    return numbers * scales[:, :rows, : width // 16].repeat_interleave(16, dim=2)


def run(
    lhs: torch.Tensor,
    lhs_scale: torch.Tensor,
    rhs: torch.Tensor,
    rhs_scale: torch.Tensor,
    masked_m: torch.Tensor,
    alpha: torch.Tensor,
) -> torch.Tensor:
    left, right = _numbers(lhs, lhs_scale), _numbers(rhs, rhs_scale)
    output = torch.matmul(left, right.mT) * alpha.reshape(-1, 1, 1)
    # Rows past a group's count are not written by the kernel; here they are zero.
    counted = torch.arange(left.shape[1], device=lhs.device) < masked_m[:, None]
    output = torch.where(counted[..., None], output, torch.zeros_like(output))
    return output.to(torch.bfloat16).permute(1, 2, 0)
