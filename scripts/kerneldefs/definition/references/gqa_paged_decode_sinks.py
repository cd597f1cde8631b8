import torch
from kerneldefs.definition.references.parts.masked import causal_mask
from kerneldefs.definition.references.parts.paged import keys_of
from kerneldefs.definition.references.parts.sinks import attend_with_sinks

WINDOW_LEFT = -1  # keys further than this before the query are left out; -1 for none


def run(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    sink: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    output = torch.zeros_like(q)
    lse = torch.full(q.shape[:2], float("-inf"), dtype=torch.float32, device=q.device)
    for i in range(q.shape[0]):
        k = keys_of(k_cache, i, kv_indptr, kv_indices, kv_last_page_len)
        v = keys_of(v_cache, i, kv_indptr, kv_indices, kv_last_page_len)
        if k.shape[0] == 0:
            continue
        seen = causal_mask(1, k.shape[0], WINDOW_LEFT, q.device)
        found, sums = attend_with_sinks(q[i : i + 1], k, v, sink, sm_scale, seen)
        output[i], lse[i] = found[0].to(q.dtype), sums[0]
    return output, lse
