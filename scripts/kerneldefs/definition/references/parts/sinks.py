import math

import torch


def attend_with_sinks(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    sinks: torch.Tensor,
    scale: float,
    seen: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return output and base-2 log-sum-exp of queries [n, heads, d] over keys [m, kv heads, d].

    A head's sink is the logit of one key more, whose value is zero. `seen` tells which keys a
    query sees, [n, m].
    """
    group = q.shape[1] // k.shape[1]
    k, v = (x.float().repeat_interleave(group, dim=1) for x in (k, v))
    logits = torch.einsum("qhd,khd->hqk", q.float(), k) * scale
    logits = logits.masked_fill(~seen, float("-inf"))
    sink = sinks.float()[:, None, None].expand(-1, q.shape[0], 1)
    logits = torch.cat([logits, sink], dim=-1)
    weights = torch.softmax(logits, dim=-1)[..., :-1]
    sums = torch.logsumexp(logits, dim=-1) / math.log(2.0)
    return torch.einsum("hqk,khd->qhd", weights, v), sums.T
