import torch
import torch.nn.functional as F


def run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    state: torch.Tensor,
    A_log: torch.Tensor,
    a: torch.Tensor,
    dt_bias: torch.Tensor,
    b: torch.Tensor,
    cu_seqlens: torch.Tensor,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    decay = torch.exp(-torch.exp(A_log.float()) * F.softplus(a.float() + dt_bias.float()))
    beta = torch.sigmoid(b.float())
    queries = q.float().repeat_interleave(v.shape[1] // q.shape[1], dim=1)
    keys = k.float().repeat_interleave(v.shape[1] // k.shape[1], dim=1)
    output = torch.zeros_like(v)
    new_state = state.float().clone()
    for i in range(cu_seqlens.shape[0] - 1):
        s = new_state[i].clone()  # [heads, value, key]
        for t in range(int(cu_seqlens[i]), int(cu_seqlens[i + 1])):
            s = s * decay[t][:, None, None]
            found = torch.einsum("hvk,hk->hv", s, keys[t])
            change = (v[t].float() - found) * beta[t][:, None]
            s = s + torch.einsum("hv,hk->hvk", change, keys[t])
            output[t] = (scale * torch.einsum("hvk,hk->hv", s, queries[t])).to(v.dtype)
        new_state[i] = s
    return output, new_state
