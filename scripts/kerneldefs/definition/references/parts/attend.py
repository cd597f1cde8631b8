import math
from typing import Any

import torch


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, seen: Any = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return output and base-2 log-sum-exp of queries [n, heads, d] over keys [m, kv heads, d].

    `seen` tells which keys a query sees, [n, m] or one for each head; None for all.
    """
    group = q.shape[1] // k.shape[1]
    k, v = (x.float().repeat_interleave(group, dim=1) for x in (k, v))
    logits = torch.einsum("qhd,khd->hqk", q.float(), k) * scale
    if seen is not None:
        logits = logits.masked_fill(~seen, float("-inf"))
    weights = torch.nan_to_num(torch.softmax(logits, dim=-1))
    sums = torch.logsumexp(logits, dim=-1) / math.log(2.0)
    return torch.einsum("hqk,khd->qhd", weights, v), sums.T
