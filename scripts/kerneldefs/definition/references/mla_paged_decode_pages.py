import math

import torch
from kerneldefs.definition.references.parts.paged import keys_of


def run(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    ckv_cache: torch.Tensor,
    kpe_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    output = torch.zeros_like(q_nope)
    lse = torch.full(q_nope.shape[:2], float("-inf"), dtype=torch.float32, device=q_nope.device)
    for i in range(q_nope.shape[0]):
        ckv = keys_of(ckv_cache, i, kv_indptr, kv_indices, kv_last_page_len)
        kpe = keys_of(kpe_cache, i, kv_indptr, kv_indices, kv_last_page_len)
        if ckv.shape[0] == 0:
            continue
        logits = (q_nope[i].float() @ ckv.T + q_pe[i].float() @ kpe.T) * sm_scale
        output[i] = (torch.softmax(logits, dim=-1) @ ckv).to(q_nope.dtype)
        lse[i] = torch.logsumexp(logits, dim=-1) / math.log(2.0)
    return output, lse
