import torch
from kerneldefs.definition.references.parts.attend import attend


def run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    block_mask_map: torch.Tensor,
    block_row_sz: torch.Tensor,
    block_col_sz: torch.Tensor,
    sm_scale: float,
) -> torch.Tensor:
    output = torch.zeros_like(q)
    group = q.shape[0] // k.shape[0]
    for head in range(k.shape[0]):
        seen = block_mask_map[head].repeat_interleave(block_row_sz[head].long(), dim=0)
        seen = seen.repeat_interleave(block_col_sz[head].long(), dim=1)
        heads = slice(head * group, (head + 1) * group)
        found, _ = attend(
            q[heads].transpose(0, 1), k[head, :, None], v[head, :, None], sm_scale, seen
        )
        output[heads] = found.transpose(0, 1).to(q.dtype)
    return output
