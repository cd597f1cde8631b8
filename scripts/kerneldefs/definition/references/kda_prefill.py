import torch
from kerneldefs.definition.references.parts.kimi import decay_of, normalised, updated


def run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    A_log: torch.Tensor,
    dt_bias: torch.Tensor,
    initial_state: torch.Tensor,
    cu_seqlens: torch.Tensor,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    group = v.shape[2] // q.shape[2]
    queries, keys = (normalised(x[0].float()).repeat_interleave(group, dim=1) for x in (q, k))
    decay, update = decay_of(g[0], A_log, dt_bias), torch.sigmoid(beta[0].float())
    output, final_state = torch.zeros_like(v), initial_state.clone()
    for i in range(cu_seqlens.shape[0] - 1):
        state = initial_state[i].float()
        for t in range(int(cu_seqlens[i]), int(cu_seqlens[i + 1])):
            state = updated(state, keys[t], v[0, t].float(), decay[t], update[t])
            output[0, t] = (scale * torch.einsum("hvk,hk->hv", state, queries[t])).to(v.dtype)
        final_state[i] = state.to(initial_state.dtype)
    return output, final_state
