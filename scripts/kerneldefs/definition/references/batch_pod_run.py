import torch
from kerneldefs.definition.references.parts.attend import attend
from kerneldefs.definition.references.parts.masked import causal_mask
from kerneldefs.definition.references.parts.paged import keys_of

CAUSAL = True


def run(
    q_p: torch.Tensor,
    k_cache_p: torch.Tensor,
    v_cache_p: torch.Tensor,
    qo_indptr_p: torch.Tensor,
    kv_indptr_p: torch.Tensor,
    kv_indices_p: torch.Tensor,
    kv_last_page_len_p: torch.Tensor,
    q_d: torch.Tensor,
    k_cache_d: torch.Tensor,
    v_cache_d: torch.Tensor,
    kv_indptr_d: torch.Tensor,
    kv_indices_d: torch.Tensor,
    kv_last_page_len_d: torch.Tensor,
    sm_scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    prefill, decode = torch.zeros_like(q_p), torch.zeros_like(q_d)
    for i in range(kv_last_page_len_p.shape[0]):
        rows = slice(int(qo_indptr_p[i]), int(qo_indptr_p[i + 1]))
        where = (i, kv_indptr_p, kv_indices_p, kv_last_page_len_p)
        k, v = (keys_of(cache, *where) for cache in (k_cache_p, v_cache_p))
        seen = causal_mask(q_p[rows].shape[0], k.shape[0], -1, q_p.device) if CAUSAL else None
        prefill[rows] = attend(q_p[rows], k, v, sm_scale, seen)[0].to(q_p.dtype)
    for i in range(q_d.shape[0]):
        where = (i, kv_indptr_d, kv_indices_d, kv_last_page_len_d)
        k, v = (keys_of(cache, *where) for cache in (k_cache_d, v_cache_d))
        decode[i : i + 1] = attend(q_d[i : i + 1], k, v, sm_scale)[0].to(q_d.dtype)
    return prefill, decode
