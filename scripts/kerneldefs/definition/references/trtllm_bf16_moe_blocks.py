import torch
from kerneldefs.definition.references.parts.local_experts import run_experts
from kerneldefs.definition.references.parts.routing import chosen
from kerneldefs.definition.references.parts.swiglu import up_gate

ROUTING = "renormalize"
TOP_K = 8


def run(
    routing_logits: torch.Tensor,
    hidden_states: torch.Tensor,
    gemm1_weights: torch.Tensor,
    gemm2_weights: torch.Tensor,
    local_expert_offset: int,
) -> torch.Tensor:
    bias = torch.zeros_like(routing_logits[0])
    experts, weights = chosen(routing_logits, bias, ROUTING, TOP_K, 1, 1, 1.0)
    # A weight is [blocks of columns, rows, columns of a block].
    output = run_experts(
        hidden_states.float(),
        weights,
        experts,
        lambda e: gemm1_weights[e].float().permute(1, 0, 2).flatten(1),
        up_gate,
        lambda e: gemm2_weights[e].float().permute(1, 0, 2).flatten(1),
        range(local_expert_offset, local_expert_offset + gemm1_weights.shape[0]),
    )
    return output.to(torch.bfloat16)
