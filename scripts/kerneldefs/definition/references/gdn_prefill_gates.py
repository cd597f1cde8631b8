import torch


def run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    initial_state: torch.Tensor,
    cu_seqlens: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    heads, scale = v.shape[1], q.shape[2] ** -0.5
    keys, queries = (x.float().repeat_interleave(heads // x.shape[1], dim=1) for x in (k, q))
    output, new_state = torch.zeros_like(v), initial_state.float().clone()
    for i in range(cu_seqlens.shape[0] - 1):
        state = new_state[i]  # [heads, V, K]
        for t in range(int(cu_seqlens[i]), int(cu_seqlens[i + 1])):
            state = state * g[t].float()[:, None, None]
            known = torch.einsum("hvk,hk->hv", state, keys[t])
            change = beta[t].float()[:, None] * (v[t].float() - known)
            state = state + torch.einsum("hv,hk->hvk", change, keys[t])
            output[t] = (scale * torch.einsum("hvk,hk->hv", state, queries[t])).to(v.dtype)
        new_state[i] = state
    return output, new_state
