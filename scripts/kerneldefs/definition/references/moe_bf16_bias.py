import torch
from kerneldefs.definition.references.parts.mixture import mixed
from kerneldefs.definition.references.parts.routing import chosen

ROUTING = "renormalize"
TOP_K = 8
N_GROUP = 1
TOPK_GROUP = 1
SCALING = 1.0  # factor of the chosen experts' weights
ACTIVATION = "silu"


def run(
    routing_logits: torch.Tensor,
    routing_bias: torch.Tensor,
    hidden_states: torch.Tensor,
    gemm1_weights: torch.Tensor,
    gemm2_weights: torch.Tensor,
) -> torch.Tensor:
    bias = routing_bias
    experts, weights = chosen(routing_logits, bias, ROUTING, TOP_K, N_GROUP, TOPK_GROUP, SCALING)
    return mixed(hidden_states, gemm1_weights, gemm2_weights, experts, weights, ACTIVATION)
