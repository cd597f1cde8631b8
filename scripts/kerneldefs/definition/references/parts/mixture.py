import torch
import torch.nn.functional as F


def mixed(
    hidden_states: torch.Tensor,
    gemm1_weights: torch.Tensor,
    gemm2_weights: torch.Tensor,
    experts: torch.Tensor,
    weights: torch.Tensor,
    activation: str,
) -> torch.Tensor:
    """Return the weighted sum of each token's experts, of those that this rank holds.

    Experts are numbered from the first one here. The first product gives [up, gate] where it is
    twice as wide as the second takes.
    """
    output = torch.zeros(hidden_states.shape, dtype=torch.float32, device=hidden_states.device)
    width = gemm2_weights.shape[-1]
    for local in range(gemm1_weights.shape[0]):
        tokens, place = torch.where(experts == local)
        if tokens.shape[0] == 0:
            continue
        inner = hidden_states[tokens].float() @ gemm1_weights[local].float().T
        if inner.shape[-1] == 2 * width:
            inner = F.silu(inner[:, width:]) * inner[:, :width]
        elif activation == "relu2":
            inner = F.relu(inner).square()
        else:
            inner = F.silu(inner)
        found = inner @ gemm2_weights[local].float().T
        output[tokens] += found * weights[tokens, place][:, None]
    return output.to(hidden_states.dtype)
