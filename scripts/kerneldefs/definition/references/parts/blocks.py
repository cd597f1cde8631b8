import torch


def scaled(codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    # A matrix with a scale for each block of 128 x 128.
    wide = scales.repeat_interleave(128, dim=0).repeat_interleave(128, dim=1)
    return codes.float() * wide[: codes.shape[0], : codes.shape[1]]
