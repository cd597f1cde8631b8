import torch

TOP_K = 2048


def run(
    q_index_fp8: torch.Tensor,
    k_index_cache_fp8: torch.Tensor,
    weights: torch.Tensor,
    seq_lens: torch.Tensor,
    block_table: torch.Tensor,
) -> torch.Tensor:
    batch_size, _, dim = q_index_fp8.shape
    num_pages, page_size = k_index_cache_fp8.shape[:2]
    # A page holds the numbers of all its keys, then their scales.
    pages = k_index_cache_fp8.reshape(num_pages, -1).view(torch.uint8)
    numbers = pages[:, : page_size * dim].contiguous().view(torch.float8_e4m3fn)
    scales = pages[:, page_size * dim :].contiguous().view(torch.float32)
    keys = numbers.float().reshape(num_pages, page_size, dim) * scales[:, :, None]
    indices = torch.full((batch_size, TOP_K), -1, dtype=torch.int32, device=weights.device)
    for i in range(batch_size):
        length = int(seq_lens[i])
        used = block_table[i, : -(-length // page_size)].long()
        slots = (used[:, None] * page_size + torch.arange(page_size, device=used.device)).flatten()
        logits = torch.relu(q_index_fp8[i].float() @ keys[used].flatten(0, 1)[:length].T)
        scores = (weights[i].float()[:, None] * logits).sum(dim=0)
        chosen = scores.topk(min(TOP_K, length)).indices
        indices[i, : chosen.shape[0]] = slots[chosen].to(torch.int32)
    return indices
