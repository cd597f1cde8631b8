import torch
from kerneldefs.definition.references.parts.e2m1 import packed, to_e2m1


def to_nvfp4(values: torch.Tensor, global_scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # A scale in E4M3 for each 16 numbers: the largest of them becomes 6 after both scales.
    blocks = values.float().unflatten(-1, (-1, 16))
    largest = blocks.abs().amax(dim=-1, keepdim=True)
    scales = (global_scale * largest / 6.0).clamp(max=448.0).to(torch.float8_e4m3fn)
    factor = global_scale / scales.float()
    codes = to_e2m1(torch.where(scales.float() > 0, blocks * factor, blocks * 0.0))
    return packed(codes.flatten(-2)), scales.squeeze(-1)
