import torch


def to_e2m1(values: torch.Tensor) -> torch.Tensor:
    # Codes of the nearest of 0, .5, 1, 1.5, 2, 3, 4, 6; halfway to the even code; 8 is the sign.
    limits = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0], device=values.device)
    size = values.float().abs()[..., None]
    below, reached = (size > limits).sum(dim=-1), (size >= limits).sum(dim=-1)
    codes = torch.where(below % 2 == 0, below, reached)
    return codes + 8 * (values < 0)


def packed(codes: torch.Tensor) -> torch.Tensor:
    # Two codes a byte, the first in the low half.
    return (codes[..., 0::2] + 16 * codes[..., 1::2]).to(torch.uint8)


def from_e2m1(pairs: torch.Tensor) -> torch.Tensor:
    # Numbers of packed codes: the last axis is twice as long.
    sizes = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], device=pairs.device)
    codes = pairs.view(torch.uint8).long()
    codes = torch.stack([codes % 16, codes // 16], dim=-1).flatten(-2)
    return torch.where(codes >= 8, -1.0, 1.0) * sizes[codes % 8]
