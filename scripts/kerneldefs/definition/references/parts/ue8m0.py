import torch


def to_ue8m0(values: torch.Tensor) -> torch.Tensor:
    # The exponent of the next power of two that is not below, in a byte; 127 is 2**0.
    bits = values.float().contiguous().view(torch.int32)
    return (bits // 2**23 + (bits % 2**23 > 0)).clamp(max=254).to(torch.uint8)


def from_ue8m0(scales: torch.Tensor) -> torch.Tensor:
    return torch.exp2(scales.view(torch.uint8).float() - 127.0)
