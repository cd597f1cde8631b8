from typing import Any

import torch
from kerneldefs.definition.references.parts.e2m1 import from_e2m1
from kerneldefs.definition.references.parts.experts_of import experts_of
from kerneldefs.definition.references.parts.ue8m0 import from_ue8m0

OUTPUT_SIZE = 0  # columns that are not padding; 0 for all


def numbers(codes: torch.Tensor, scales: Any) -> torch.Tensor:
    # Bytes are pairs of E2M1 codes, or exponents of two; a scale is of a block of columns.
    values = codes.float() if codes.is_floating_point() else from_e2m1(codes)
    if scales is None:
        return values
    factors = scales.float() if scales.is_floating_point() else from_ue8m0(scales)
    return values * factors.repeat_interleave(values.shape[-1] // factors.shape[-1], dim=-1)


def mixture(
    routing_logits: torch.Tensor,
    hidden_states: torch.Tensor,
    gemm1_weights: torch.Tensor,
    gemm2_weights: torch.Tensor,
    local_expert_offset: int,
    routing_bias: Any = None,
    hidden_states_scale: Any = None,
    gemm1_weights_scale: Any = None,
    gemm2_weights_scale: Any = None,
    gemm1_bias: Any = None,
    gemm1_alpha: Any = None,
    gemm1_beta: Any = None,
    gemm1_clamp_limit: Any = None,
    gemm2_bias: Any = None,
    output1_scale_scalar: Any = None,
    output1_scale_gate_scalar: Any = None,
    output2_scale_scalar: Any = None,
    routed_scaling_factor: float = 1.0,
) -> torch.Tensor:
    def of(values: Any, expert: int, default: float) -> Any:
        return default if values is None else values[expert].float()

    experts, weights = experts_of(routing_logits, routing_bias, routed_scaling_factor)
    hidden = numbers(hidden_states, hidden_states_scale)
    output = torch.zeros_like(hidden)
    for local in range(gemm1_weights.shape[0]):
        token, place = (experts == local_expert_offset + local).nonzero(as_tuple=True)
        if token.numel() == 0:
            continue
        scale = None if gemm1_weights_scale is None else gemm1_weights_scale[local]
        inner = hidden[token] @ numbers(gemm1_weights[local], scale).T
        up, gate = (inner + of(gemm1_bias, local, 0.0)).chunk(2, dim=-1)
        if gemm1_clamp_limit is not None:
            limit = float(gemm1_clamp_limit[local])
            up, gate = up.clamp(-limit, limit), gate.clamp(max=limit)
        gate = gate * of(output1_scale_gate_scalar, local, 1.0)
        gate = gate * torch.sigmoid(of(gemm1_alpha, local, 1.0) * gate)
        inner = gate * (up + of(gemm1_beta, local, 0.0)) * of(output1_scale_scalar, local, 1.0)
        scale = None if gemm2_weights_scale is None else gemm2_weights_scale[local]
        inner = inner @ numbers(gemm2_weights[local], scale).T
        inner = inner * of(output2_scale_scalar, local, 1.0) + of(gemm2_bias, local, 0.0)
        output.index_add_(0, token, weights[token, place, None] * inner)
    return output[:, : OUTPUT_SIZE or output.shape[1]].to(torch.bfloat16)
