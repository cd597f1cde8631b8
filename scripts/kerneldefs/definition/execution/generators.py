"""Which input holds what: a table of makers by op_type, input name and dtype.

Rows are read from the top; the first that fits makes the input. The last rows fit everything:
normal numbers for floats, zeros for integers.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import torch

from kerneldefs.definition.execution.makers import (
    Maker,
    Wanted,
    axis,
    between,
    block_offsets,
    block_sizes,
    blocks_of_rows,
    byte_scale,
    chosen_experts,
    cos_sin,
    cycled,
    fan_in,
    fixed,
    groups,
    in_turn,
    kept_groups,
    key_lengths,
    keys_then_scales,
    last_page,
    normal,
    offsets,
    pages,
    places_in_requests,
    positions,
    probabilities,
    query_lengths,
    requests,
    routing,
    rows_of_many_sizes,
    rows_that_count,
    softmax_scale,
    some_blocks,
    weights_of_chosen,
    whole,
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A maker and what it is for: patterns are searched for, in lower case; "" fits all."""

    op_type: str
    name: str
    kind: str  # "scalar", "int", "byte", "float", "bool"
    make: Maker


def make(wanted: Wanted) -> Any:
    """Return an input: a tensor of the declared shape and dtype, or a Python number."""
    kind = _kind(wanted)
    name, op_type = wanted.name.lower(), wanted.definition["op_type"]
    for row in ROWS:
        fits = re.search(row.op_type, op_type) and re.search(row.name, name)
        if row.kind == kind and fits:
            value = row.make(wanted)
            return _number(value, wanted.dtype) if wanted.dims is None else _cast(value, wanted)
    raise AssertionError("the last rows fit everything")


def _kind(wanted: Wanted) -> str:
    if wanted.dims is None:
        return "scalar"
    if wanted.dtype == "bool":
        return "bool"
    if wanted.dtype in ("int8", "float4_e2m1"):
        return "byte"
    return "int" if wanted.dtype.startswith("int") else "float"


def _number(value: Any, dtype: str) -> Any:
    if dtype == "bool":
        return bool(value)
    return int(value) if dtype.startswith("int") else float(value)


def _cast(value: Any, wanted: Wanted) -> Any:
    tensor = torch.as_tensor(value).reshape(wanted.shape)
    if wanted.dtype == "float4_e2m1":
        return tensor.to(torch.int8).view(torch.uint8).view(torch.float4_e2m1fn_x2)
    return tensor.to(getattr(torch, wanted.dtype)).contiguous()


ROWS: tuple[Row, ...] = (
    # numbers
    Row("", r"eps", "scalar", fixed(1e-6)),
    Row("", r"bmm2_scale|^(v|k|q|o)_scale$|rope_scale", "scalar", fixed(1.0)),
    Row("", r"sm_scale|bmm1_scale|softmax_scale|^scale$", "scalar", softmax_scale),
    Row("", r"routed_scaling", "scalar", fixed(2.5)),
    Row("", r"theta", "scalar", fixed(1e4)),
    Row("", r"^n_group", "scalar", groups),
    Row("", r"topk_group", "scalar", kept_groups),
    Row("", r"top_?k", "scalar", axis("top_k", "topk", default=4)),
    Row("", r"num_experts", "scalar", axis("num_experts", default=8)),
    Row("", r"activation_type", "scalar", fixed(3)),  # ActivationType.Swiglu
    Row("", r"top_p", "scalar", fixed(0.9)),
    Row("", r"min_p", "scalar", fixed(0.1)),
    Row("", r"window_left", "scalar", fixed(-1)),
    Row("", r"offset|causal|disable|use_|shared_experts", "scalar", fixed(0)),
    Row("", r"", "scalar", fixed(1)),
    # which token, page, request and expert
    Row("", r"last_page_len", "int", last_page),
    Row("", r"^mask", "int", rows_that_count),
    Row("block_sparse", r"block_indptr", "int", block_offsets),
    Row("block_sparse", r"block_indices", "int", blocks_of_rows),
    Row("block_sparse", r"block_(row|col)_sz", "int", block_sizes),
    Row("block_sparse", r"mask", "bool", some_blocks),
    Row("", r"indptr|cu_?(m_)?seq_?lens|cum_seq_lens", "int", offsets),
    Row("", r"kv_indices|page_table|block_table|page_ind|slot_mapping", "int", pages),
    Row("", r"(^|_)(q|qo)_(seq_?)?lens?|seq_?lens?_q", "int", query_lengths),
    Row("", r"seq_?lens?|kv_lens?|context_len", "int", key_lengths),
    Row("", r"batch_ind|request_id", "int", requests),
    Row("", r"topk_id|topk_ind|expert", "int", chosen_experts),
    Row("page_append|rope", r"^positions", "int", places_in_requests),
    Row("", r"pos", "int", positions),
    Row("", r"state_ind|cache_ind", "int", in_turn),
    Row("", r"top_k", "int", cycled(1, 40, 1 << 20)),
    Row("", r"token|draft|ids", "int", whole(0, 32)),
    # packed bytes
    Row("dsa", r"k_index_cache", "byte", keys_then_scales),
    Row("", r"scale|_sf", "byte", byte_scale),
    Row("", r"", "byte", whole(-128, 128)),
    # probabilities and routing
    Row("", r"probs", "float", probabilities),
    Row("", r"top_p", "float", cycled(0.3, 0.9, 1.0)),
    Row("", r"min_p", "float", cycled(0.05, 0.5, 1.0)),
    Row("", r"temperature", "float", between(0.5, 1.5)),
    Row("", r"uniform", "float", between(0.0, 1.0)),
    Row("", r"routing_logits|router|gating|^scores$", "float", routing),
    Row("", r"topk_weights|expert_weights$", "float", weights_of_chosen),
    Row("", r"bias", "float", normal(0.1)),
    # the rest, by what it is multiplied with
    Row("", r"cos_sin", "float", cos_sin),
    Row("moe", r"hidden_states_scale", "float", between(1.0, 3.0)),
    Row("moe", r"gemm1.*scale|scales_up", "float", fan_in("hidden_size")),
    Row("moe", r"gemm2.*scale|scales_down", "float", fan_in("intermediate_size")),
    Row("moe", r"output[12]_scale", "float", between(0.2, 1.0)),
    Row("moe", r"clamp_limit|gemm1_alpha", "float", between(0.5, 2.0)),
    Row("quantiz|norm", r"global_(scale|sf)", "float", between(100.0, 400.0)),
    Row("", r"scale|_sf$|scaling", "float", between(0.01, 0.03)),
    Row("rmsnorm|norm", r"hidden|^x$|input|residual", "float", rows_of_many_sizes),
    Row("rmsnorm|norm", r"weight|gamma", "float", between(0.5, 1.5)),
    Row("gdn|kda|mamba", r"^a_log$|^a$|^g$|decay", "float", between(-2.0, -0.1)),
    Row("gdn|kda|mamba", r"^beta$|^b$", "float", between(0.1, 0.9)),
    Row("", r"", "float", normal(0.5)),
    Row("", r"", "bool", fixed(1)),
    Row("", r"", "int", fixed(0)),
)
