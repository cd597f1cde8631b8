import torch


def chosen(
    logits: torch.Tensor,
    bias: torch.Tensor,
    routing: str,
    top_k: int,
    n_group: int,
    topk_group: int,
    scaling: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each token's experts and their weights, [tokens, top_k] both.

    The bias chooses and weighs nothing. Every row of `routing` is one way to score and to weigh.
    """
    scores = logits.float()
    if routing in ("ds", "sigmoid", "sigmoid_renorm", "minimax2", "llama4"):
        scores = torch.sigmoid(scores)
    elif routing in ("default", "renormalize_naive"):
        scores = torch.softmax(scores, dim=-1)
    ranked = scores + bias.float()
    if n_group > 1:
        groups = ranked.reshape(ranked.shape[0], n_group, -1)
        strength = groups.topk(2, dim=-1).values.sum(dim=-1)
        kept = strength.topk(topk_group, dim=-1).indices
        mask = torch.zeros(strength.shape, dtype=torch.bool, device=logits.device)
        mask = mask.scatter(1, kept, torch.ones_like(kept, dtype=torch.bool))
        ranked = groups.masked_fill(~mask[..., None], float("-inf")).reshape(ranked.shape)
    experts = ranked.topk(top_k, dim=-1).indices
    weights = scores.gather(1, experts)
    if routing == "renormalize":
        weights = torch.softmax(weights, dim=-1)
    elif routing in ("ds", "renormalize_naive", "sigmoid_renorm", "minimax2"):
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return experts, weights * scaling
