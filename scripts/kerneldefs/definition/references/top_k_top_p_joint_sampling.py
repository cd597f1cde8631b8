import torch


def run(probs: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    probs = probs.float()
    values, tokens = torch.sort(probs, dim=-1, descending=True, stable=True)
    rank = torch.arange(probs.shape[-1], device=probs.device)[None, :]
    # Both filters look at the probabilities as given: neither sees what the other left.
    kept = rank < top_k.long()[:, None]
    kept &= values.cumsum(dim=-1) - values < top_p.float()[:, None]
    kept[:, 0] = True
    choice = torch.multinomial(torch.where(kept, values, torch.zeros_like(values)), 1)
    return tokens.gather(-1, choice).squeeze(-1).to(torch.int32)
