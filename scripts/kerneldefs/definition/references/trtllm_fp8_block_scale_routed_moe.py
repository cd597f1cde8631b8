import torch
from kerneldefs.definition.references.parts.blocks import scaled
from kerneldefs.definition.references.parts.local_experts import run_experts
from kerneldefs.definition.references.parts.routed import unpacked
from kerneldefs.definition.references.parts.swiglu import up_gate


def run(
    topk_ids: torch.Tensor,
    hidden_states: torch.Tensor,
    hidden_states_scale: torch.Tensor,
    gemm1_weights: torch.Tensor,
    gemm1_weights_scale: torch.Tensor,
    gemm2_weights: torch.Tensor,
    gemm2_weights_scale: torch.Tensor,
    local_expert_offset: int,
) -> torch.Tensor:
    weights, experts = unpacked(topk_ids)
    hidden = hidden_states.float() * hidden_states_scale.T.repeat_interleave(128, dim=1)
    output = run_experts(
        hidden,
        weights,
        experts,
        lambda e: scaled(gemm1_weights[e], gemm1_weights_scale[e]),
        up_gate,
        lambda e: scaled(gemm2_weights[e], gemm2_weights_scale[e]),
        range(local_expert_offset, local_expert_offset + gemm1_weights.shape[0]),
    )
    return output.to(torch.bfloat16)
