"""What each const axis stands for: one word for a size that templates name differently.

The words are those of serving.ranksizes, so that a size can be held against what a model predicts;
and two definitions whose axes have other names but the same roles can be told to be the same.
"""

from __future__ import annotations

from collections.abc import Mapping

# Axis names that mean the same in every family.
_COMMON = {
    "head_dim": "head_dim",
    "head_dim_ckv": "ckv",
    "head_dim_kpe": "kpe",
    "head_dim_qk": "qk_dim",
    "head_dim_v": "vo_dim",
    "head_dim_vo": "vo_dim",
    "kv_lora_rank": "ckv",
    "n_group": "groups",
    "num_expert_group": "groups",
    "nope_dim": "nope",
    "num_experts": "experts",
    "num_experts_per_tok": "top_k",
    "num_heads": "qo_heads",
    "num_heads_kv": "kv_heads",
    "num_heads_qo": "qo_heads",
    "num_k_heads": "kv_heads",
    "num_kv_heads": "kv_heads",
    "num_local_experts": "local_experts",
    "num_q_heads": "qo_heads",
    "num_qo_heads": "qo_heads",
    "num_routed_experts": "experts",
    "page_size": "page_size",
    "qk_nope_head_dim": "nope",
    "qk_rope_head_dim": "kpe",
    "topk_group": "topk_groups",
    "vocab_size": "vocab",
}
# What a name means in one op_type only; "" where no one word fits all of its kernels.
_OF_TYPE: dict[str, dict[str, str]] = {
    "activation": {"hidden_size": "gated_width"},
    "comm": {"hidden_dim": "hidden", "hidden_size": "hidden"},
    "dsa_paged": {"num_index_heads": "index_heads", "index_head_dim": "index_dim"},
    "gdn": {
        "head_size": "gdn_k_dim",
        "num_k_heads": "gdn_k_heads",
        "num_q_heads": "gdn_k_heads",
        "num_v_heads": "gdn_v_heads",
    },
    "kda": {
        "head_dim": "gdn_k_dim",
        "num_q_heads": "gdn_k_heads",
        "num_v_heads": "gdn_v_heads",
    },
    "mamba": {
        "dim": "mamba_dim",
        "dstate": "mamba_state",
        "head_dim": "mamba_dim",
        "nheads": "mamba_heads",
        "ngroups": "mamba_groups",
    },
    "mla_paged": {"num_heads_broadcast": "", "rope_dim": "kpe"},
    "moe": {
        "hidden_size": "moe_hidden",
        "intermediate_size": "moe_intermediate",
        "output_size": "moe_hidden",
        "top_k": "top_k",
        "topk": "top_k",
    },
    "moe_routing": {"topk": "top_k", "top_k": "top_k"},
    "rmsnorm": {"hidden_size": "norm"},
    "rope": {"head_dim": "rotated"},
}
_OF_TYPE["allreduce"] = _OF_TYPE["comm"]
_OF_TYPE["mamba_ssu"] = _OF_TYPE["mamba"]
_OF_TYPE["mla_ragged"] = _OF_TYPE["mla_paged"]
_OF_TYPE["trtllm_mla"] = _OF_TYPE["mla_paged"]


def role_of(op_type: str, axis: str) -> str | None:
    """Return the role of a const axis; None where it has none of its own.

    >>> role_of("gqa_paged", "num_kv_heads"), role_of("gdn", "num_k_heads")
    ('kv_heads', 'gdn_k_heads')
    """
    return _OF_TYPE.get(op_type, {}).get(axis, _COMMON.get(axis)) or None


def sizes_by_role(op_type: str, axes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the sizes of each role, under the axis's own name where it has no role."""
    found: dict[str, set[int]] = {}
    for axis, size in axes.items():
        found.setdefault(role_of(op_type, axis) or axis, set()).add(size)
    return {role: tuple(sorted(sizes)) for role, sizes in sorted(found.items())}
