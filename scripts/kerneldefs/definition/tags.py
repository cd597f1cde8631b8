"""Tags: the vocabulary, FlashInfer's tags made public, and those that a serving config adds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kerneldefs.serving.config import ServingConfig

# Private module -> the public one that exports its functions (flashinfer-python 0.6.18).
PUBLIC_MODULES = {
    "flashinfer.attention._core": "flashinfer.attention",
    "flashinfer.comm.allreduce": "flashinfer.comm",
    "flashinfer.comm.dcp_alltoall": "flashinfer.comm",
    "flashinfer.cudnn.decode": "flashinfer.cudnn",
    "flashinfer.cute_dsl.add_rmsnorm_fp4quant": "flashinfer.cute_dsl",
    "flashinfer.cute_dsl.attention.wrappers.batch_mla": "flashinfer.cute_dsl.attention",
    "flashinfer.cute_dsl.attention.wrappers.batch_prefill": "flashinfer.cute_dsl.attention",
    "flashinfer.cute_dsl.rmsnorm_fp4quant": "flashinfer.cute_dsl",
    "flashinfer.cudnn.prefill": "flashinfer.cudnn",
    "flashinfer.fused_moe.core": "flashinfer.fused_moe",
    "flashinfer.fused_moe.cute_dsl.b12x_moe": "flashinfer.fused_moe",
    "flashinfer.fused_moe.cute_dsl.fused_moe": "flashinfer.fused_moe",
    "flashinfer.fused_moe.fused_routing_dsv3": "flashinfer.fused_moe",
    "flashinfer.fused_moe.hash_topk": "flashinfer.fused_moe",
    "flashinfer.fused_moe.monomoe": "flashinfer.fused_moe",
    "flashinfer.gemm.gemm_base": "flashinfer.gemm",
    "flashinfer.gemm.gemm_bf16_fp4": "flashinfer.gemm",
    "flashinfer.gemm.kernels.grouped_gemm_masked_wrapper": "flashinfer.gemm",
    "flashinfer.gemm.routergemm": "flashinfer.gemm",
    "flashinfer.mamba.selective_state_update": "flashinfer.mamba",
    "flashinfer.mla._core": "flashinfer.mla",
    "flashinfer.msa_ops.sparse_decode": "flashinfer.msa_ops",
    "flashinfer.msa_ops.sparse_prefill": "flashinfer.msa_ops",
    "flashinfer.quantization.fp4_quantization": "flashinfer.quantization",
    "flashinfer.quantization.fp8_quantization": "flashinfer.quantization",
    "flashinfer.topk_varlen.topk_varlen": "flashinfer.topk_varlen",
}
# FlashInfer's words for what a config calls otherwise.
_SYNONYMS = {
    "quantization:float8_e4m3fn": "quantization:fp8",
    "status:verified": "status:unverified",  # until this project has verified it
}
VOCABULARY = re.compile(
    r"(fi_api:flashinfer(\.\w+)+|status:(verified|unverified|experimental|reference)"
    r"|model:[a-z0-9][a-z0-9._-]*|quantization:[a-z0-9][a-z0-9_.-]*|tp:[1-9]\d*|ep:[1-9]\d*"
    r"|origin:(derived|predicted)|variant:[a-z_]+"
    r"|stage:(prefill|decode|comm)|backend:[a-z0-9_-]+|fused|mla|sparse(:\w+)?|moe(:\w+)?|layout:\w+)"
)

# What a tag of these says holds only of a definition that nothing else led to.
UNLESS_SEEN = ("origin:", "variant:")

# Const axes whose size depends on how the model is split, and by what.
HEAD_AXES = frozenset(
    [
        "num_heads",
        "num_qo_heads",
        "num_kv_heads",
        "num_q_heads",
        "num_k_heads",
        "num_v_heads",
        "num_heads_qo",
        "num_local_heads",
    ]
)
EXPERT_AXES = frozenset(
    [
        "num_local_experts",
        "num_weight_rows",
        "intermediate_size",
        "gemm1_out_size",
        "num_intermediate_blocks",
        "num_gemm1_out_blocks",
        "num_packed_intermediate",
    ]
)


def public_api(path: str) -> str:
    """Return the public path of a FlashInfer function."""
    for private, public in PUBLIC_MODULES.items():
        if path.startswith(f"{private}."):
            return public + path.removeprefix(private)
    return path


def upstream_tags(tags: Iterable[str]) -> list[str]:
    """Return FlashInfer's tags with public API paths and unproven claims withdrawn, sorted.

    Its model tags name a family that a kernel was made for; ours name the model that called it.
    """
    renewed = set()
    for tag in tags:
        kind, _, value = tag.partition(":")
        if kind == "model":
            continue
        renewed.add(f"fi_api:{public_api(value)}" if kind == "fi_api" else _SYNONYMS.get(tag, tag))
    return sorted(filter(None, renewed))


def config_tags(axes: Iterable[str], config: ServingConfig) -> set[str]:
    """Return the tags that a serving config adds to a definition with these const axes.

    Heads are split over the attention ranks, which are tp / dp under DP attention; experts and
    their intermediate size over tp and ep. Nothing else depends on the split.
    """
    tags = {f"model:{config.model}", f"quantization:{config.quantization}"}
    names = set(axes)
    if names & HEAD_AXES:
        tags.add(f"tp:{attention_tp(config)}")
    if names & EXPERT_AXES:
        tags |= {f"tp:{config.tp}", f"ep:{config.ep}"}
    return tags


def attention_tp(config: ServingConfig) -> int:
    """Return the number of ranks that share the attention heads of one replica."""
    return config.tp // config.dp if config.enable_dp_attention else config.tp


def united(one: Iterable[str], other: Iterable[str]) -> list[str]:
    """Return the tags of two sources of one definition, sorted."""
    return sorted({*one, *other})


def with_tags(definition: Mapping[str, object], tags: Iterable[str]) -> dict[str, object]:
    """Return a definition with tags added."""
    return {**definition, "tags": united(definition["tags"], tags)}  # type: ignore[arg-type]
