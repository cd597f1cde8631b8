import torch
import torch.nn.functional as F

LOWER_BOUND = 0.0  # the least logarithm of the decay, negative; 0 for a decay by softplus
TINY = 1e-6  # keeps the norm of a row of zeros from being 0


def normalised(x: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.square().sum(dim=-1, keepdim=True) + TINY)


def decay_of(g: torch.Tensor, A_log: torch.Tensor, dt_bias: torch.Tensor) -> torch.Tensor:
    heads, channels = g.shape[-2:]
    rate = torch.exp(A_log.float())[:, None]
    raw = g.float() + dt_bias.float().reshape(heads, channels)
    if LOWER_BOUND < 0:
        return torch.exp(LOWER_BOUND * torch.sigmoid(rate * raw))
    return torch.exp(-rate * F.softplus(raw))


def updated(
    state: torch.Tensor, k: torch.Tensor, v: torch.Tensor, decay: torch.Tensor, beta: torch.Tensor
) -> torch.Tensor:
    state = state * decay[:, None, :]  # [heads, value, key]
    known = torch.einsum("hvk,hk->hv", state, k)
    return state + torch.einsum("hv,hk->hvk", beta[:, None] * (v - known), k)
