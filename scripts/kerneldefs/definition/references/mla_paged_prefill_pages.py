import math

import torch
from kerneldefs.definition.references.parts.masked import causal_mask
from kerneldefs.definition.references.parts.paged import keys_of


def run(
    q_nope: torch.Tensor,
    q_pe: torch.Tensor,
    ckv_cache: torch.Tensor,
    kpe_cache: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    output = torch.zeros_like(q_nope)
    lse = torch.full(q_nope.shape[:2], float("-inf"), dtype=torch.float32, device=q_nope.device)
    for i in range(qo_indptr.shape[0] - 1):
        queries = slice(int(qo_indptr[i]), int(qo_indptr[i + 1]))
        ckv = keys_of(ckv_cache, i, kv_indptr, kv_indices, kv_last_page_len)
        kpe = keys_of(kpe_cache, i, kv_indptr, kv_indices, kv_last_page_len)
        num_queries, num_keys = queries.stop - queries.start, ckv.shape[0]
        if num_queries <= 0 or num_keys == 0:
            continue
        logits = torch.einsum("qhd,kd->hqk", q_nope[queries].float(), ckv)
        logits = (logits + torch.einsum("qhd,kd->hqk", q_pe[queries].float(), kpe)) * sm_scale
        seen = causal_mask(num_queries, num_keys, -1, ckv.device)
        logits = logits.masked_fill(~seen, float("-inf"))
        weights = torch.nan_to_num(torch.softmax(logits, dim=-1))
        output[queries] = torch.einsum("hqk,kd->qhd", weights, ckv).to(q_nope.dtype)
        lse[queries] = (torch.logsumexp(logits, dim=-1) / math.log(2.0)).T
    return output, lse
