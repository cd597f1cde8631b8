import torch


def run(probs: torch.Tensor, min_p: torch.Tensor) -> torch.Tensor:
    probs = probs.float()
    threshold = probs.amax(dim=-1, keepdim=True) * min_p.float()[:, None]
    kept = torch.where(probs >= threshold, probs, torch.zeros_like(probs))
    return torch.multinomial(kept, 1).squeeze(-1).to(torch.int32)
