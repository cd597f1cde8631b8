import torch
from kerneldefs.definition.references.parts.nvfp4 import to_nvfp4


def run(
    a: torch.Tensor, mask: torch.Tensor, a_global_sf: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    experts, rows, width = a.shape
    gate, up = a.float().chunk(2, dim=-1)
    hidden = (gate * torch.sigmoid(gate) * up).to(a.dtype)
    # Rows past an expert's count are not written by the kernel; here they are zero.
    counted = torch.arange(rows, device=a.device) < mask[:, None]
    hidden = torch.where(counted[..., None], hidden, torch.zeros_like(hidden))
    quantized, scales = to_nvfp4(hidden, a_global_sf.float()[:, None, None, None])
    # Scales in tiles of 128 rows and 4 columns, padded with zeros.
    tiles_down, tiles_across = -(-rows // 128), -(-width // 128)
    grid = torch.zeros(experts, 128 * tiles_down, 4 * tiles_across, device=a.device)
    grid[:, :rows, : scales.shape[-1]] = scales.float()
    tiles = grid.reshape(experts, tiles_down, 4, 32, tiles_across, 4).permute(3, 2, 1, 5, 4, 0)
    return quantized.view(torch.int8).permute(1, 2, 0), tiles.to(torch.float8_e4m3fn)
