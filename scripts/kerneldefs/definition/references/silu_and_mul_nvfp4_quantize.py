import torch
from kerneldefs.definition.references.parts.nvfp4 import to_nvfp4


def run(input: torch.Tensor, global_scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    gate, up = input.float().chunk(2, dim=-1)
    hidden = (gate * torch.sigmoid(gate) * up).to(input.dtype)
    quantized, scales = to_nvfp4(hidden, global_scale.float())
    return quantized.view(torch.int8), scales.view(torch.int8)
