"""What a fused mixture of experts and its router say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kerneldefs.capture.observe.ops import FUSED_MOE, ROUTINGS
from kerneldefs.capture.observe.seen import Seen, dtype_name
from kerneldefs.capture.observe.weights import block_size, first_tensor, quantization, scheme_name


def routing(runner_config: Any, topk: Any) -> str:
    """Return the routing method: what SGLang would tell FlashInfer, else what its router does."""
    said = getattr(runner_config, "routing_method_type", None)
    if said is not None and int(said) in ROUTINGS:
        return ROUTINGS[int(said)]
    if topk is None:
        return "unknown"
    custom = getattr(topk, "custom_routing_function", None)
    if custom is not None:
        name = str(getattr(custom, "__qualname__", type(custom).__name__))
        return "llama4" if "llama4" in name.lower() else f"custom: {name}"
    if topk.correction_bias is not None and topk.use_grouped_topk:
        return "ds"
    if topk.scoring_func == "sigmoid":
        return "sigmoid_renorm" if topk.renormalize else "sigmoid"
    return "renormalize_naive" if topk.renormalize else "default"


def _told(method: Any, found: str) -> str:
    """Return the routing that kernels are told; MXFP4's are told the equal one for gpt-oss."""
    naive = found == "renormalize_naive" and type(method).__name__ == "Mxfp4MoEMethod"
    return "renormalize" if naive else found


def activations(method: Any, x: Any) -> str:
    """Return the format in which an expert's first product takes hidden states."""
    kernel = getattr(method, "_fi_kernel", None)  # of MXFP4 weights, by architecture
    exact = getattr(method, "flashinfer_mxfp4_moe_precision", None) == "bf16"
    if kernel in ("trtllm_sm100", "cutlass_sm120") and not exact:
        return "mxfp8"
    return dtype_name(x.dtype)


def read(layer: Any, arguments: dict[str, Any], topk: Any) -> Iterator[Seen]:
    """Read one FusedMoE call; fused shared experts are no part of the routed ones."""
    config = layer.moe_runner_config
    x = arguments["hidden_states"]
    topk = getattr(arguments.get("topk_output"), "topk_config", None) or topk
    shared = int(getattr(layer, "num_fused_shared_experts", 0) or 0)
    experts = int(getattr(layer, "_num_global_routed", None) or config.num_experts - shared)
    local = int(getattr(layer, "_num_local_routed", None) or config.num_local_experts - shared)
    top_k = int(config.top_k or topk.top_k) - shared
    method = layer.quant_method
    weight = first_tensor(layer, "w13_weight", "w13_weight_packed", "w13_qweight")
    block = block_size(method)
    logits = getattr(arguments.get("topk_output"), "router_logits", None)
    bias = getattr(topk, "correction_bias", None)
    yield Seen(
        FUSED_MOE,
        {
            "hidden_states": x,
            "w13_weight": weight,
            "w2_weight": first_tensor(layer, "w2_weight", "w2_weight_packed", "w2_qweight"),
            "router_logits": logits,
            "correction_bias": bias,
        },
        {
            "kind": type(layer).__name__,
            "scheme": scheme_name(layer, method),
            "quantization": quantization(layer, method, weight),
            "block_n": block and block[0],
            "block_k": block and block[1],
            "num_experts": experts,
            "num_local_experts": local,
            "num_fused_shared_experts": shared,
            "top_k": top_k,
            "hidden_size": int(getattr(method, "hidden_size", 0) or config.hidden_size),
            "intermediate_size": int(
                getattr(method, "intermediate_size_per_partition", 0)  # with the kernel's padding
                or config.intermediate_size_per_partition
            ),
            "activations": activations(method, x),
            "biased": first_tensor(layer, "w13_weight_bias") is not None,
            "routing": _told(method, routing(config, topk)),
            "n_group": getattr(topk, "num_expert_group", None),
            "topk_group": getattr(topk, "topk_group", None),
            "scoring": getattr(topk, "scoring_func", None),
            "renormalize": getattr(topk, "renormalize", None),
            "activation": str(config.activation),
            "gated": bool(config.is_gated),
            "clamp": config.swiglu_limit or config.gemm1_clamp_limit,
            "alpha": config.gemm1_alpha,
            "routed_scaling_factor": config.routed_scaling_factor,
        },
    )
