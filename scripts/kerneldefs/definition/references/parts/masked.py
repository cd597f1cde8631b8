import torch


def causal_mask(num_queries: int, num_keys: int, window_left: int, device: str) -> torch.Tensor:
    """Return which keys each query sees; the last query stands at the last key."""
    position = torch.arange(num_queries, device=device)[:, None] + num_keys - num_queries
    key = torch.arange(num_keys, device=device)[None, :]
    seen = key <= position
    if window_left >= 0:
        seen &= key >= position - window_left
    return seen
