import torch
from kerneldefs.definition.references.parts.attend import attend

BLOCK_ROWS = 1
BLOCK_COLUMNS = 1


def run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    block_indptr: torch.Tensor,
    block_indices: torch.Tensor,
    sm_scale: float,
) -> torch.Tensor:
    block_rows, block_columns = q.shape[0] // BLOCK_ROWS, k.shape[0] // BLOCK_COLUMNS
    blocks = torch.zeros(block_rows, block_columns, dtype=torch.bool, device=q.device)
    for i in range(block_rows):
        blocks[i, block_indices[int(block_indptr[i]) : int(block_indptr[i + 1])].long()] = True
    seen = blocks.repeat_interleave(BLOCK_ROWS, dim=0).repeat_interleave(BLOCK_COLUMNS, dim=1)
    return attend(q, k, v, sm_scale, seen)[0].to(q.dtype)
