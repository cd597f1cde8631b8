import torch
from kerneldefs.definition.references.parts.local_experts import run_experts
from kerneldefs.definition.references.parts.routed import unpacked
from kerneldefs.definition.references.parts.swiglu import up_gate


def run(
    topk_ids: torch.Tensor,
    hidden_states: torch.Tensor,
    gemm1_weights: torch.Tensor,
    gemm2_weights: torch.Tensor,
    local_expert_offset: int,
) -> torch.Tensor:
    weights, experts = unpacked(topk_ids)
    output = run_experts(
        hidden_states.float(),
        weights,
        experts,
        lambda e: gemm1_weights[e].float(),
        up_gate,
        lambda e: gemm2_weights[e].float(),
        range(local_expert_offset, local_expert_offset + gemm1_weights.shape[0]),
    )
    return output.to(torch.bfloat16)
