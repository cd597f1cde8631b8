import torch

IS_NEOX = True  # pairs are halves of the rotary part; else they are neighbours


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate the first elements of each head, in single precision."""
    width = 2 * cos.shape[-1]
    part = x[..., :width].float()
    if IS_NEOX:
        first, second = part.chunk(2, dim=-1)
    else:
        first, second = part[..., 0::2], part[..., 1::2]
    turned = (first * cos - second * sin, second * cos + first * sin)
    part = torch.cat(turned, dim=-1) if IS_NEOX else torch.stack(turned, dim=-1).flatten(-2)
    return torch.cat([part.to(x.dtype), x[..., width:]], dim=-1)


def run(
    q: torch.Tensor,
    k: torch.Tensor,
    cos_sin_cache: torch.Tensor,
    positions: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    rows = cos_sin_cache[positions.long()].float()
    cos, sin = (half[:, None, :] for half in rows.chunk(2, dim=-1))
    return rotated(q, cos, sin), rotated(k, cos, sin)
