import torch


def run(logits: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    values, tokens = torch.sort(logits.float(), dim=-1, descending=True, stable=True)
    k = top_k.long().clamp(1, logits.shape[-1])[:, None]
    # Ties with the k-th largest are kept, as the kernel's threshold keeps them.
    values = torch.where(
        values >= values.gather(-1, k - 1), values, torch.full_like(values, float("-inf"))
    )
    probs = torch.softmax(values, dim=-1)  # of what top-k left: top-p comes second
    kept = probs.cumsum(dim=-1) - probs < top_p.float()[:, None]
    kept[:, 0] = True
    choice = torch.multinomial(torch.where(kept, probs, torch.zeros_like(probs)), 1)
    return tokens.gather(-1, choice).squeeze(-1).to(torch.int32)
