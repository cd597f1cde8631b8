import torch
from kerneldefs.definition.references.parts.nvfp4 import to_nvfp4


def run(input: torch.Tensor, global_scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    quantized, scales = to_nvfp4(input, global_scale.float())
    return quantized.view(torch.int8), scales.view(torch.int8)
