import math

import torch

CAUSAL = True
WINDOW_LEFT = -1  # keys further than this before their query are left out; -1 for none
SOFT_CAP = 0.0  # logits are bent to within this; 0 for none


def run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    num_qo_heads, num_kv_heads = q.shape[1], k.shape[1]
    output = torch.zeros(*q.shape[:2], v.shape[2], dtype=q.dtype, device=q.device)
    lse = torch.full(q.shape[:2], float("-inf"), dtype=torch.float32, device=q.device)
    for i in range(qo_indptr.shape[0] - 1):
        queries = slice(int(qo_indptr[i]), int(qo_indptr[i + 1]))
        keys = slice(int(kv_indptr[i]), int(kv_indptr[i + 1]))
        num_queries, num_keys = queries.stop - queries.start, keys.stop - keys.start
        if num_queries <= 0 or num_keys <= 0:
            continue
        group = num_qo_heads // num_kv_heads
        k_heads = k[keys].float().repeat_interleave(group, dim=1)
        v_heads = v[keys].float().repeat_interleave(group, dim=1)
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
