import torch


def up_gate(inner: torch.Tensor, expert: int) -> torch.Tensor:
    # The first product gives the linear half, then the gates.
    up, gate = inner.chunk(2, dim=-1)
    return torch.nn.functional.silu(gate) * up
