import math

import torch
from kerneldefs.definition.references.parts.paged import keys_of

WINDOW_LEFT = -1  # keys further than this before the query are left out; -1 for none
SOFT_CAP = 0.0  # logits are bent to within this; 0 for none


def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    group = q.shape[1] // k_cache.shape[2]
    output = torch.zeros_like(q)
    lse = torch.full(q.shape[:2], float("-inf"), dtype=torch.float32, device=q.device)
    for i in range(q.shape[0]):
        k = keys_of(k_cache, i, kv_indptr, kv_indices, kv_last_page_len)
        v = keys_of(v_cache, i, kv_indptr, kv_indices, kv_last_page_len)
        if WINDOW_LEFT >= 0:
            k, v = k[-(WINDOW_LEFT + 1) :], v[-(WINDOW_LEFT + 1) :]
        if k.shape[0] == 0:
            continue
        k_heads, v_heads = (t.repeat_interleave(group, dim=1) for t in (k, v))
        logits = torch.einsum("hd,khd->hk", q[i].float(), k_heads) * sm_scale
        if SOFT_CAP > 0:
            logits = SOFT_CAP * torch.tanh(logits / SOFT_CAP)
        output[i] = torch.einsum("hk,khd->hd", torch.softmax(logits, dim=-1), v_heads).to(q.dtype)
        lse[i] = torch.logsumexp(logits, dim=-1) / math.log(2.0)
    return output, lse
