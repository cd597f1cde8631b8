import math

import torch


def run(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    ckv_cache: torch.Tensor,
    kpe_cache: torch.Tensor,
    sparse_indices: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    output = torch.zeros_like(q_nope)
    lse = torch.full(q_nope.shape[:2], float("-inf"), dtype=torch.float32, device=q_nope.device)
    all_ckv = ckv_cache.reshape(-1, ckv_cache.shape[-1])
    all_kpe = kpe_cache.reshape(-1, kpe_cache.shape[-1])
    for t in range(q_nope.shape[0]):
        slots = sparse_indices[t][sparse_indices[t] >= 0].long()
        if slots.shape[0] == 0:
            continue
        ckv, kpe = all_ckv[slots].float(), all_kpe[slots].float()
        logits = (q_nope[t].float() @ ckv.T + q_pe[t].float() @ kpe.T) * sm_scale
        output[t] = (torch.softmax(logits, dim=-1) @ ckv).to(q_nope.dtype)
        lse[t] = torch.logsumexp(logits, dim=-1) / math.log(2.0)
    return output, lse
