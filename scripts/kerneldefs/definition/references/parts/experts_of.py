from typing import Any

import torch
from kerneldefs.definition.references.parts.routing import chosen

ROUTING = "renormalize"
TOP_K = 8
N_GROUP = 1
TOPK_GROUP = 1


def experts_of(
    logits: torch.Tensor, bias: Any, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each token's experts and their weights, [tokens, top_k] both."""
    bias = torch.zeros_like(logits[0]) if bias is None else bias
    return chosen(logits, bias, ROUTING, TOP_K, N_GROUP, TOPK_GROUP, scaling)
