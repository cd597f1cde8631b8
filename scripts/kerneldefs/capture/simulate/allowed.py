"""What may be skipped, guessed or left out, and why that loses nothing.

Tables of names and sentences; what stands in none of them is a warning of the capture, and puts in
doubt the calls that may hang on it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection

from kerneldefs.capture.probe import NOT_TEXT

_TABLES_KV = "writes or reads the KV cache or its tables; attention's shapes come from plan()"
_ROUTING = "routes tokens to experts; the layer that asks for it is observed"
_EXPERTS = "multiplies with experts; the layer above it is observed"
_GEMM = "multiplies with a weight; the layer above it is observed"
_QUANTIZE = "quantizes activations or repacks weights; the product it is for is observed"
_NORM = "normalises; the layer, or the fused layer above it, is observed"
_ROPE = "rotates queries and keys, and may store keys; the embedding's layer is observed"
_ACTIVATION = "activation function; its layer is observed"
_LINEAR_ATTENTION = "part of linear attention or a state space layer, which is observed as a whole"
_ATTENTION = "part of an attention that FlashInfer does not compute; its layer is observed"
_INDEXER = "part of the sparse attention's indexer, which is observed as a whole"
_LOGITS = "changes logits in place; their shape is known"
_BATCH = "lays out the batch on the GPU; the values that control flow reads are followed"
_COPY = "copies the rows of a batch that ranks share; computes nothing"
_SETTING = "asks about or configures the GPU; launches no kernel of the model"

# Kind of work -> (names as regular expressions, sentence).
_ALLOWED: dict[str, tuple[tuple[str, str], ...]] = {
    "collective": ((r".*", "communication between ranks; rank 0 keeps its own data"),),
    "compiled op": (
        (r"sgl_kernel::(moe_align_block_size|moe_fused_gate|topk_\w+|\w*route\w*)", _ROUTING),
        (r"sgl_kernel::(moe_sum_reduce|moe_sum|\w*moe\w*mm\w*)", _EXPERTS),
        (r"sgl_kernel::(merge_state\w*|\w*fwd|get_scheduler_metadata|\w*mla\w*)", _ATTENTION),
        (r"sgl_kernel::\w*(scaled_mm|gemm)\w*", _GEMM),
        (r"sgl_kernel::\w*quant\w*", _QUANTIZE),
        (r"sgl_kernel::\w*norm\w*", _NORM),
        (r"sgl_kernel::\w*(silu|gelu)\w*", _ACTIVATION),
        (r"sgl_kernel::\w*(rotary|rope)\w*", _ROPE),
        (r"sgl_kernel::weak_ref_tensor", _SETTING),
    ),
    "flashinfer kernel": (  # compiled through the same CUTLASS, but called by SGLang itself
        (r"cute\.FlashAttention\w+", _ATTENTION),
        (r"cute\.wrapper", "compiled when a recorded API is first called"),
    ),
    "known value failed": ((r".*", "its shapes are right; its values count as unknown"),),
    "sglang kernel": (
        (r"(set_mla_kv|kvcache|fused_store|fused_fp8_qkv_kv_cache)\w*\..*", _TABLES_KV),
        (r"(moe_route|moe_align|hash_topk|\w*topk_v\d)\w*\..*", _ROUTING),
        (r"\w*(moe_wna16|mega_moe)\w*\..*", _EXPERTS),
        (r"(tiny_n_gemm|dsv3_fused_a_gemm|gptq_marlin|\w*_gemm|\w*scaled_mm)\w*\..*", _GEMM),
        (r"(per_t\w+quant|\w*quant|gptq_marlin_repack|hadamard)\w*\..*", _QUANTIZE),
        (r"(qknorm|add3_bf16|\w*attn_res|\w*mhc)\w*\..*", _NORM),
        (r"(\w*rope|rotary_embedding)\w*\..*", _ROPE),
        (r"(activation|\w*_and_mul|kimi_k3_mla_output_gate)\w*\..*", _ACTIVATION),
        (r"(dpsk_v\d+\w*|minimax_\w+|concat_mla_k\w*)\..*", _ATTENTION),
        (r"clamp_position\..*", _BATCH),
        (r"occupancy_cluster_probe\..*", _SETTING),
    ),
    "stubbed call": (
        (r"cutlass\.cute\.compile\(\)", "launches what it compiled; the layer above is observed"),
        (r"(cutlass|quack)\..*|tilelang\.(jit|set_\w+)", "declares a kernel; launches none"),
        (r"cuda\.bindings\.driver\.CUstream", "names the stream that a recorded API runs on"),
        (r"deep_gemm\.(set_|get_)\w+", _SETTING),
        (r"deep_gemm\.\w*(mqa)\w*", _INDEXER),
        (r"deep_gemm\.\w*(gemm|einsum)\w*", _GEMM),
        (r"tilelang\.jit\(\)\.mhc\w*(\(\))?", _NORM),
        (r".*\.init\(\)\.\w+", "method of a compiled FlashInfer module below a recorded API"),
    ),
    "triton kernel": (
        (r"\w*(kv_indices|kv_cache|kv_buffer|token_pool|page_table)\w*", _TABLES_KV),
        (r"(create|get|set|build)_\w*kv\w*|alloc_\w+|concat_and_cast_mha_k_kernel", _TABLES_KV),
        (r"\w*(_swa_|attn_metadata|expand_prefill)\w*", _TABLES_KV),
        (r"\w*(moe_align|router|routing|topk|append_shared_experts)\w*", _ROUTING),
        (r"\w*(bitmatrix|ragged_tensor_metadata)\w*", _ROUTING),
        (r"fused_moe_\w+|_reduce|_moe_sum_reduce_kernel|\w*moe\w*", _EXPERTS),
        (r"\w*(matmul|gemm)\w*|_bmm_\w+", _GEMM),
        (r"\w*(quant|upcast|downcast)\w*", _QUANTIZE),
        (
            r"(_chunk|chunk|_state|_selective|fused_(gdn|recurrent|sigmoid)|gdn|kda)_\w+",
            _LINEAR_ATTENTION,
        ),
        (r"_?(causal_conv1d|recompute_w_u|fused_qkv\w*_gdn|fused_qkvzba)\w+", _LINEAR_ATTENTION),
        (
            r"(l2norm|layer_norm_gated|_layer_norm)_fwd\w*|_fused_slot_\w+_kernel",
            _LINEAR_ATTENTION,
        ),
        (r"\w*(rms_?norm|layer_?norm|_hc_head)\w*", _NORM),
        (r"\w*rope\w*", _ROPE),
        (r"_?fused_(gate_)?sigmoid_mul\w*", _ACTIVATION),
        (r"_flash_attn_\w+|_gqa_share_\w+|_decode_score_kernel", _ATTENTION),
        (r"merge_state\w*|_(combine|score)_kernel|\w*attention\w*|_fwd_\w*kernel\w*", _ATTENTION),
        (r"(_act_quant|\w*indexer)\w*", _INDEXER),
        (r"softcap\w*", _LOGITS),
        (r"memcpy_triton_kernel", _COPY),
        (r"_vocab_parallel_embedding_kernel", "looks up embeddings; none is defined"),
        (r"(_small_copy|compute_position|write_req_to_token|clamp)\w*", _BATCH),
    ),
}

# Function that asked for an unknown value -> why no call depends on the answer.
HARMLESS: dict[str, str] = {
    "sglang.srt.layers.quantization.modelopt_quant.process_weights_after_loading": (
        "reorders scale factors; no value of them is asked for"
    ),
    "sglang.srt.models.kimi_vl_moonvit.__init__": "a check of the vision tower; the probe is text",
    "sglang.srt.layers.quantization.marlin_utils_fp4.nvfp4_marlin_process_scales": (
        "a warning about the values of scale factors; their layout is the same"
    ),
}

# Layer classes that a text probe does not run, or that others read the weights of.
_NOT_RUN_PATHS = (
    (NOT_TEXT.pattern, "the probe sends text alone"),
    (r"\.indexer\.", _INDEXER),
    (r"\.shared_expert_gate$", "a fused kernel multiplies with its weight"),
    (r"\.quant_method$", "how a layer multiplies: a module by name, called through its methods"),
)
NOT_RUN: dict[str, str] = {
    "ColumnParallelLinear": "a convolution or attention itself multiplies with its weight",
    "Compressor": "the attention backend multiplies with its weights",
    "DeepseekScalingRotaryEmbedding": "a fused kernel rotates with its table",
    "MiniMaxM2RMSNormTP": "a function of its module normalises queries and keys together",
    "MoEGate": "a fused kernel multiplies with its weight",
    "MRotaryEmbedding": "a fused kernel rotates with its table",
    "RotaryEmbedding": "a fused kernel rotates with its table",
    "RadixAttention": "the attention backend is called in its place",
    "ReplicatedLinear": "a fused kernel multiplies with its weight",
    "SiluAndMul": "a fused kernel activates",
    "Pooler": "pools for embeddings, which a generating model is not asked for",
    "ParallelLMHead": "the logits processor multiplies with its weight",
}


@functools.cache
def why_skipped(kind: str, name: str) -> str | None:
    """Why skipping this piece of work loses nothing; None where no table knows it."""
    for pattern, sentence in _ALLOWED.get(kind, ()):
        if re.fullmatch(pattern, name):
            return sentence
    return None


def why_not_run(cls: str, paths: Collection[str]) -> str | None:
    """Why no module of a class ran; None where no table knows it."""
    for pattern, sentence in _NOT_RUN_PATHS:
        if all(re.search(pattern, path) for path in paths):
            return sentence
    return NOT_RUN.get(cls)
