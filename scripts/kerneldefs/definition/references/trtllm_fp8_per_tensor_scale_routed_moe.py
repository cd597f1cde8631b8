import torch
from kerneldefs.definition.references.parts.local_experts import run_experts
from kerneldefs.definition.references.parts.routed import unpacked


def run(
    topk_ids: torch.Tensor,
    hidden_states: torch.Tensor,
    gemm1_weights: torch.Tensor,
    output1_scales_scalar: torch.Tensor,
    output1_scales_gate_scalar: torch.Tensor,
    gemm2_weights: torch.Tensor,
    output2_scales_scalar: torch.Tensor,
    local_expert_offset: int,
) -> torch.Tensor:
    def act(inner: torch.Tensor, expert: int) -> torch.Tensor:
        # The linear half, then the gates, which have a scale of their own before SiLU.
        up, gate = inner.chunk(2, dim=-1)
        gate = torch.nn.functional.silu(gate * output1_scales_gate_scalar[expert])
        return gate * up * output1_scales_scalar[expert]

    weights, experts = unpacked(topk_ids)
    output = run_experts(
        hidden_states.float(),
        weights,
        experts,
        lambda e: gemm1_weights[e].float(),
        act,
        lambda e: gemm2_weights[e].float() * output2_scales_scalar[e],
        range(local_expert_offset, local_expert_offset + gemm1_weights.shape[0]),
    )
    return output.to(torch.bfloat16)
