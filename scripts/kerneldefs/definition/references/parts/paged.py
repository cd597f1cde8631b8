import torch


def keys_of(
    cache: torch.Tensor,
    i: int,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
) -> torch.Tensor:
    """Return the rows that a cache [pages, page size, ...] holds of request i, in order."""
    pages = kv_indices[int(kv_indptr[i]) : int(kv_indptr[i + 1])].long()
    rows = cache[pages].reshape(-1, *cache.shape[2:]).float()
    unused = cache.shape[1] - int(kv_last_page_len[i])
    return rows[: rows.shape[0] - unused]
