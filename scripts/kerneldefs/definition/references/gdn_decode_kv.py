import torch


def run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    state: torch.Tensor,
    A_log: torch.Tensor,
    a: torch.Tensor,
    dt_bias: torch.Tensor,
    b: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    heads, scale = v.shape[2], q.shape[3] ** -0.5
    key, query = (x[:, 0].float().repeat_interleave(heads // x.shape[2], dim=1) for x in (k, q))
    step = torch.nn.functional.softplus(a[:, 0].float() + dt_bias.float())
    decay = torch.exp(-torch.exp(A_log.float()) * step)
    new_state = state.float() * decay[..., None, None]  # [batch, heads, K, V]
    known = torch.einsum("bhkv,bhk->bhv", new_state, key)
    change = torch.sigmoid(b[:, 0].float())[..., None] * (v[:, 0].float() - known)
    new_state = new_state + torch.einsum("bhk,bhv->bhkv", key, change)
    output = scale * torch.einsum("bhkv,bhk->bhv", new_state, query)
    return output[:, None].to(q.dtype), new_state
