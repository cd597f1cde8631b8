"""Where the hooks are: SGLang's classes and methods, and the reader of each."""

from __future__ import annotations

import dataclasses

from kerneldefs.capture.observe import layers


@dataclasses.dataclass(frozen=True)
class Hook:
    """Methods of a class, or functions of a module, and who reads their calls.

    `place` is `module:Class` or `module` (paths of sglang 0.5.21); a release
    that lacks it is noted.
    """

    place: str
    methods: tuple[str, ...]
    read: layers.Reader
    optional: bool = False  # of models or backends that not every release has


# Methods of a quantization method that multiply with a layer's weight.
PRODUCTS = ("apply", "apply_with_addend", "apply_into")
_FUSED = ("forward_cuda", "forward_native")
_NORM = (*_FUSED, "forward_with_allreduce_fusion", "forward_with_per_tensor_quant_fusion")
_LAYERS = "sglang.srt.layers"
HOOKS = (
    Hook(f"{_LAYERS}.layernorm:RMSNorm", _NORM, layers.norm),
    Hook(f"{_LAYERS}.layernorm:GemmaRMSNorm", _NORM, layers.norm),
    Hook(f"{_LAYERS}.layernorm:Gemma3RMSNorm", _NORM, layers.norm, optional=True),
    Hook(f"{_LAYERS}.layernorm:Gemma4RMSNorm", _NORM, layers.norm, optional=True),
    Hook(f"{_LAYERS}.layernorm:LayerNorm", _FUSED, layers.norm, optional=True),
    Hook(f"{_LAYERS}.rotary_embedding.base:RotaryEmbedding", _FUSED, layers.rope),
    Hook(f"{_LAYERS}.activation:SiluAndMul", _FUSED, layers.activation),
    Hook(f"{_LAYERS}.activation:GeluAndMul", _FUSED, layers.activation),
    Hook(f"{_LAYERS}.activation:ReLU2", _FUSED, layers.activation, optional=True),
    Hook(f"{_LAYERS}.radix_attention:RadixAttention", ("forward",), layers.attention),
    Hook(
        f"{_LAYERS}.radix_linear_attention:RadixLinearAttention",
        ("forward",),
        layers.linear_attention,
    ),
    Hook(f"{_LAYERS}.moe.topk:TopK", _FUSED, layers.topk),
    Hook(f"{_LAYERS}.moe.fused_moe_triton.layer:FusedMoE", ("forward",), layers.fused_moe),
    Hook(f"{_LAYERS}.sampler:Sampler", ("forward",), layers.sampler),
    Hook(f"{_LAYERS}.attention.mamba.mamba", ("selective_state_update",), layers.state_space, True),
    Hook(f"{_LAYERS}.attention.dsa.dsa_indexer:Indexer", _FUSED, layers.indexer, True),
    Hook("sglang.srt.mem_cache.memory_pool:MHATokenToKVPool", ("set_kv_buffer",), layers.kv_append),
    Hook(
        "sglang.srt.mem_cache.memory_pool:MLATokenToKVPool",
        ("set_kv_buffer", "set_mla_kv_buffer"),
        layers.kv_append,
    ),
)
