import torch
from kerneldefs.definition.references.parts.e2m1 import from_e2m1
from kerneldefs.definition.references.parts.local_experts import run_experts
from kerneldefs.definition.references.parts.routed import unpacked


def run(
    topk_ids: torch.Tensor,
    hidden_states: torch.Tensor,
    hidden_states_scale: torch.Tensor,
    gemm1_weights: torch.Tensor,
    gemm1_weights_scale: torch.Tensor,
    gemm2_weights: torch.Tensor,
    gemm2_weights_scale: torch.Tensor,
    output1_scale_scalar: torch.Tensor,
    output1_scale_gate_scalar: torch.Tensor,
    output2_scale_scalar: torch.Tensor,
    local_expert_offset: int,
) -> torch.Tensor:
    def numbers(codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        return from_e2m1(codes) * scales.float().repeat_interleave(16, dim=-1)

    def act(inner: torch.Tensor, expert: int) -> torch.Tensor:
        # The linear half, then the gates, which have a scale of their own before SiLU.
        up, gate = inner.chunk(2, dim=-1)
        gate = torch.nn.functional.silu(gate * output1_scale_gate_scalar[expert])
        return gate * up * output1_scale_scalar[expert]

    weights, experts = unpacked(topk_ids)
    output = run_experts(
        numbers(hidden_states, hidden_states_scale),
        weights,
        experts,
        lambda e: numbers(gemm1_weights[e], gemm1_weights_scale[e]),
        act,
        lambda e: numbers(gemm2_weights[e], gemm2_weights_scale[e]) * output2_scale_scalar[e],
        range(local_expert_offset, local_expert_offset + gemm1_weights.shape[0]),
    )
    return output.to(torch.bfloat16)
