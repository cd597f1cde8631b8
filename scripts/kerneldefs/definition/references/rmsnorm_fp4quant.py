import torch
from kerneldefs.definition.references.parts.nvfp4 import to_nvfp4

EPS = 1e-6


def run(
    input: torch.Tensor, weight: torch.Tensor, global_scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    hidden = input.float()
    hidden = hidden * torch.rsqrt(hidden.pow(2).mean(dim=-1, keepdim=True) + EPS) * weight.float()
    quantized, scales = to_nvfp4(hidden, global_scale.float())
    return quantized.view(torch.int8), scales
