from typing import Any

import torch


def run_experts(
    hidden: torch.Tensor,
    weights: torch.Tensor,
    experts: torch.Tensor,
    first: Any,
    act: Any,
    second: Any,
    local: range,
) -> torch.Tensor:
    # first and second give the weight of an expert on this rank, act what is between them.
    # Sum over each token's experts of weight * second(act(first(hidden))), of those on this rank.
    output = torch.zeros_like(hidden)
    for expert in local:
        token, place = (experts == expert).nonzero(as_tuple=True)
        if token.numel() > 0:
            inner = act(hidden[token] @ first(expert - local.start).T, expert - local.start)
            inner = inner @ second(expert - local.start).T
            output.index_add_(0, token, weights[token, place, None] * inner)
    return output
