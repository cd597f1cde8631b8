import torch
import torch.nn.functional as F

DT_SOFTPLUS = True


def run(
    state: torch.Tensor,
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor,
    dt_bias: torch.Tensor,
    state_batch_indices: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    heads_per_group = x.shape[1] // B.shape[1]
    slots = state_batch_indices.long()
    step = dt.float() + dt_bias.float()
    if DT_SOFTPLUS:
        step = F.softplus(step)
    decay = torch.exp(step[..., None] * A.float())
    b, c = (t.float().repeat_interleave(heads_per_group, dim=1)[:, :, None, :] for t in (B, C))
    new = state[slots].float() * decay + step[..., None] * b * x.float()[..., None]
    output = (new * c).sum(dim=-1) + x.float() * D.float()
    new_state = state.clone()
    new_state[slots] = new.to(state.dtype)
    return output.to(x.dtype), new_state
