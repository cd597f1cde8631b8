import torch


def run(
    append_key: torch.Tensor,
    append_value: torch.Tensor,
    batch_indices: torch.Tensor,
    positions: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_last_page_len: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    page_size = k_cache.shape[1]
    first = kv_indptr.long()[batch_indices.long()]
    pages = kv_indices.long()[first + positions.long() // page_size]
    rows = positions.long() % page_size
    k_out, v_out = k_cache.clone(), v_cache.clone()
    k_out[pages, rows] = append_key
    v_out[pages, rows] = append_value
    return k_out, v_out
