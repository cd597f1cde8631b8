import torch
from kerneldefs.definition.references.parts.attend import attend
from kerneldefs.definition.references.parts.masked import causal_mask
from kerneldefs.definition.references.parts.paged import keys_of

CAUSAL = False


def run(
    q: torch.Tensor,
    paged_kv_cache: torch.Tensor,
    qo_indptr_0: torch.Tensor,
    kv_indptr_0: torch.Tensor,
    kv_indices_0: torch.Tensor,
    kv_last_page_len_0: torch.Tensor,
    qo_indptr_1: torch.Tensor,
    kv_indptr_1: torch.Tensor,
    kv_indices_1: torch.Tensor,
    kv_last_page_len_1: torch.Tensor,
    sm_scale: float,
) -> torch.Tensor:
    shared = (qo_indptr_0, kv_indptr_0, kv_indices_0, kv_last_page_len_0)
    own = (qo_indptr_1, kv_indptr_1, kv_indices_1, kv_last_page_len_1)
    output = torch.zeros(q.shape, dtype=torch.float32, device=q.device)
    total = torch.full(q.shape[:2], float("-inf"), dtype=torch.float32, device=q.device)
    for qo_indptr, kv_indptr, kv_indices, last in (shared, own):
        for i in range(last.shape[0]):
            rows = slice(int(qo_indptr[i]), int(qo_indptr[i + 1]))
            k, v = (
                keys_of(paged_kv_cache[:, side], i, kv_indptr, kv_indices, last) for side in (0, 1)
            )
            # Only a request's own keys are masked: the shared ones come before all of them.
            masked = CAUSAL and qo_indptr is qo_indptr_1
            seen = causal_mask(q[rows].shape[0], k.shape[0], -1, q.device) if masked else None
            part, lse = attend(q[rows], k, v, sm_scale, seen)
            both = torch.logaddexp2(total[rows], lse)
            ratio = torch.exp2(total[rows] - both)[..., None]
            output[rows] = ratio * output[rows] + (1 - ratio) * part
            total[rows] = both
    return output.to(q.dtype)
