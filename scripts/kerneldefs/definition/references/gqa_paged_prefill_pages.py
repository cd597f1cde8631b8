import math

import torch
from kerneldefs.definition.references.parts.masked import causal_mask
from kerneldefs.definition.references.parts.paged import keys_of

WINDOW_LEFT = -1  # keys further than this before their query are left out; -1 for none
SOFT_CAP = 0.0  # logits are bent to within this; 0 for none


def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    group = q.shape[1] // k_cache.shape[2]
    output = torch.zeros_like(q)
    lse = torch.full(q.shape[:2], float("-inf"), dtype=torch.float32, device=q.device)
    for i in range(qo_indptr.shape[0] - 1):
        queries = slice(int(qo_indptr[i]), int(qo_indptr[i + 1]))
        k = keys_of(k_cache, i, kv_indptr, kv_indices, kv_last_page_len)
        v = keys_of(v_cache, i, kv_indptr, kv_indices, kv_last_page_len)
        num_queries, num_keys = queries.stop - queries.start, k.shape[0]
        if num_queries <= 0 or num_keys == 0:
            continue
        k_heads, v_heads = (t.repeat_interleave(group, dim=1) for t in (k, v))
        logits = torch.einsum("qhd,khd->hqk", q[queries].float(), k_heads) * sm_scale
        if SOFT_CAP > 0:
            logits = SOFT_CAP * torch.tanh(logits / SOFT_CAP)
        seen = causal_mask(num_queries, num_keys, WINDOW_LEFT, q.device)
        logits = logits.masked_fill(~seen, float("-inf"))
        weights = torch.nan_to_num(torch.softmax(logits, dim=-1))
        output[queries] = torch.einsum("hqk,khd->qhd", weights, v_heads).to(q.dtype)
        lse[queries] = (torch.logsumexp(logits, dim=-1) / math.log(2.0)).T
    return output, lse
