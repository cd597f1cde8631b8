import torch
from kerneldefs.definition.references.parts.attend import attend
from kerneldefs.definition.references.parts.masked import causal_mask
from kerneldefs.definition.references.parts.paged import keys_of

CAUSAL = True


def run(
    q_p: torch.Tensor,
    k_p: torch.Tensor,
    v_p: torch.Tensor,
    q_d: torch.Tensor,
    k_cache_d: torch.Tensor,
    v_cache_d: torch.Tensor,
    kv_indptr_d: torch.Tensor,
    kv_indices_d: torch.Tensor,
    kv_last_page_len_d: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    seen = causal_mask(q_p.shape[0], k_p.shape[0], -1, q_p.device) if CAUSAL else None
    prefill, _ = attend(q_p, k_p, v_p, sm_scale, seen)
    decode = torch.zeros_like(q_d)
    for i in range(q_d.shape[0]):
        where = (i, kv_indptr_d, kv_indices_d, kv_last_page_len_d)
        k, v = (keys_of(cache, *where) for cache in (k_cache_d, v_cache_d))
        decode[i : i + 1] = attend(q_d[i : i + 1], k, v, sm_scale)[0].to(q_d.dtype)
    return prefill.to(q_p.dtype), decode
