import torch
from kerneldefs.definition.references.parts.masked import causal_mask
from kerneldefs.definition.references.parts.paged import keys_of
from kerneldefs.definition.references.parts.sinks import attend_with_sinks

WINDOW_LEFT = -1  # keys further than this before their query are left out; -1 for none


def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    sink: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    output = torch.zeros_like(q)
    lse = torch.full(q.shape[:2], float("-inf"), dtype=torch.float32, device=q.device)
    for i in range(qo_indptr.shape[0] - 1):
        queries = slice(int(qo_indptr[i]), int(qo_indptr[i + 1]))
        k = keys_of(k_cache, i, kv_indptr, kv_indices, kv_last_page_len)
        v = keys_of(v_cache, i, kv_indptr, kv_indices, kv_last_page_len)
        if queries.stop <= queries.start or k.shape[0] == 0:
            continue
        seen = causal_mask(queries.stop - queries.start, k.shape[0], WINDOW_LEFT, q.device)
        found, sums = attend_with_sinks(q[queries], k, v, sink, sm_scale, seen)
        output[queries], lse[queries] = found.to(q.dtype), sums
    return output, lse
