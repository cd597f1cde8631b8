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
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    group = v.shape[2] // q.shape[2]
    queries, keys = (normalised(x[:, 0].float()).repeat_interleave(group, dim=1) for x in (q, k))
    decay, update = decay_of(g[:, 0], A_log, dt_bias), torch.sigmoid(beta[:, 0].float())
    output, final_state = torch.zeros_like(v), initial_state.clone()
    for i in range(q.shape[0]):
        values = v[i, 0].float()
        state = updated(initial_state[i].float(), keys[i], values, decay[i], update[i])
        output[i, 0] = (scale * torch.einsum("hvk,hk->hv", state, queries[i])).to(v.dtype)
        final_state[i] = state.to(initial_state.dtype)
    return output, final_state
