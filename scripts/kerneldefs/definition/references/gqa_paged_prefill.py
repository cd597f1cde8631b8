import math

import torch

CAUSAL = True
WINDOW_LEFT = -1  # keys further than this before their query are left out; -1 for none
SOFT_CAP = 0.0  # logits are bent to within this; 0 for none


def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    num_qo_heads, num_kv_heads, head_dim = q.shape[1], k_cache.shape[2], q.shape[2]
    group = num_qo_heads // num_kv_heads
    output = torch.zeros_like(q)
    lse = torch.full(q.shape[:2], float("-inf"), dtype=torch.float32, device=q.device)
    for i in range(qo_indptr.shape[0] - 1):
        queries = slice(int(qo_indptr[i]), int(qo_indptr[i + 1]))
        pages = kv_indices[int(kv_indptr[i]) : int(kv_indptr[i + 1])].long()
        k = k_cache[pages].reshape(-1, num_kv_heads, head_dim).float()
        v = v_cache[pages].reshape(-1, num_kv_heads, head_dim).float()
        num_queries, num_keys = queries.stop - queries.start, k.shape[0]
        if num_queries <= 0 or num_keys == 0:
            continue
        k_heads = k.repeat_interleave(group, dim=1)
        v_heads = v.repeat_interleave(group, dim=1)
        logits = torch.einsum("qhd,khd->hqk", q[queries].float(), k_heads) * sm_scale
        if SOFT_CAP > 0:
            logits = SOFT_CAP * torch.tanh(logits / SOFT_CAP)
        # The last query stands at the last key.
        position = torch.arange(num_queries, device=q.device)[:, None] + num_keys - num_queries
        key = torch.arange(num_keys, device=q.device)[None, :]
        seen = torch.ones(num_queries, num_keys, dtype=torch.bool, device=q.device)
        if CAUSAL:
            seen &= key <= position
        if WINDOW_LEFT >= 0:
            seen &= key >= position - WINDOW_LEFT
        logits = logits.masked_fill(~seen, float("-inf"))
        weights = torch.nan_to_num(torch.softmax(logits, dim=-1))
        output[queries] = torch.einsum("hqk,khd->qhd", weights, v_heads).to(q.dtype)
        lse[queries] = (torch.logsumexp(logits, dim=-1) / math.log(2.0)).T
    return output, lse
