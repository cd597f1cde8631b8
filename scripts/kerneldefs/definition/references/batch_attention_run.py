import torch
from kerneldefs.definition.references.parts.attend import attend
from kerneldefs.definition.references.parts.masked import causal_mask

CAUSAL = True


def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    output = torch.zeros_like(q)
    lse = torch.full(q.shape[:2], float("-inf"), dtype=torch.float32, device=q.device)
    for i in range(kv_len.shape[0]):
        queries = slice(int(qo_indptr[i]), int(qo_indptr[i + 1]))
        pages = kv_indices[int(kv_indptr[i]) : int(kv_indptr[i + 1])].long()
        count = int(kv_len[i])
        k, v = (cache[pages].flatten(0, 1)[:count] for cache in (k_cache, v_cache))
        seen = causal_mask(q[queries].shape[0], count, -1, q.device) if CAUSAL else None
        found = attend(q[queries], k, v, sm_scale, seen)
        output[queries], lse[queries] = found[0].to(q.dtype), found[1]
    return output, lse
