"""Definitions of our own templates at small sizes, true or with one mistake in the reference."""

from __future__ import annotations

from typing import Any

from kerneldefs.definition.own import OwnTemplate, reference
from kerneldefs.definition.templates import gemm, moe, planned, quantization, sparse, state

from .make import definition

BYTES = "int8"
FP8 = "float8_e4m3fn"


COMPARED: set[str] = set()  # references that are compared below


def of(template: OwnTemplate, sizes: dict[str, int], **dtypes: str) -> dict[str, Any]:
    """Return a template's definition; inputs are bfloat16 unless told otherwise, offsets int32."""
    COMPARED.add(template.reference)
    draft = template.draft([], "bfloat16")
    for name, spec in draft["inputs"].items():
        if spec["shape"] is not None:
            whole = "ind" in name or "len" in name or "ids" in name or "_sz" in name
            spec["dtype"] = dtypes.get(name, "int32" if whole else "bfloat16")
    for name, axis in draft["axes"].items():
        if axis["type"] == "const":
            axis["value"] = sizes[name]
    parts = [template.name_prefix]
    parts += [f"{abbrev}{sizes[name]}" for name, (abbrev, _) in template.axes.items() if abbrev]
    return {**draft, "name": "_".join(parts)}


def mistaken(definition: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """Return a definition whose reference says something else in one place."""
    assert old in definition["reference"], old
    return {**definition, "reference": definition["reference"].replace(old, new)}


_ROW = {"K": 64, "num_packed": 32, "one": 1}
_SCALES = {"global_scale": "float32"}
NVFP4 = of(quantization.NVFP4, {**_ROW, "num_blocks": 4}, **_SCALES)
MXFP4 = of(quantization.MXFP4, {**_ROW, "num_blocks": 2})
MXFP8 = of(quantization.MXFP8, {**_ROW, "num_blocks": 2})
SILU = of(
    quantization.SILU_NVFP4,
    {"K_doubled": 128, "num_packed": 32, "num_blocks": 4, "one": 1},
    **_SCALES,
)
_NORM = {"hidden_size": 64, "num_packed": 32, "num_blocks": 4, "one": 1}
NORM = of(quantization.RMSNORM, _NORM, **_SCALES)
ADD_NORM = of(quantization.ADD_RMSNORM, _NORM, **_SCALES)
_TILES = {"row": 32, "row_group": 4, "column": 4}
EXPERTS = of(
    quantization.EXPERTS,
    {"B": 3, "M": 8, "K_doubled": 256, "num_packed": 64, "tiles_down": 1, "tiles_across": 2}
    | _TILES,
    mask="int32",
    a_global_sf="float32",
)
_PACKED = {"N": 16, "K": 64, "K_packed": 32, "one": 1}
GEMM_FP4 = of(
    gemm.FP4,
    {**_PACKED, "N_padded": 128, "num_blocks": 4},
    **dict.fromkeys(("A", "B", "a_descale", "b_descale"), BYTES),
    alpha="float32",
)
GEMM_FP8 = of(
    gemm.FP8,
    {"N": 16, "K": 256, "num_blocks": 2, "block_size": 128},
    A=FP8,
    B=FP8,
    alpha="float32",
)
SEGMENTS = of(gemm.SEGMENTS, {"K": 16, "N": 8})
GROUPS = of(
    gemm.GROUPS,
    {**_PACKED, "num_groups": 3, "n_tiles": 1, "K_tiles": 1, **_TILES},
    **{"lhs": BYTES, "rhs": BYTES, "lhs_scale": FP8, "rhs_scale": FP8},
    masked_m="int32",
    alpha="float32",
)
_MOE = {"top_k": 2, "num_local_experts": 4, "hidden_size": 128, "intermediate_size": 128}
_MOE |= {"gemm1_out_size": 256, "num_experts": 4}
_MOE |= {"num_hidden_blocks": 1, "num_gemm1_out_blocks": 2, "num_intermediate_blocks": 1}
_WEIGHTS = {"hidden_states": FP8, "gemm1_weights": FP8, "gemm2_weights": FP8}
_FACTORS = {name: "float32" for name in moe.PER_TENSOR.inputs if name.startswith("output")}
MOE_BF16 = of(moe.BF16, _MOE)
MOE_PER_TENSOR = of(moe.PER_TENSOR, _MOE, routing_logits="float32", **_WEIGHTS, **_FACTORS)
MONO = of(
    moe.MONO,
    _MOE,
    expert_weights_up=FP8,
    expert_weights_down=FP8,
    expert_scales_up="float32",
    expert_scales_down="float32",
)
MOE_PER_TENSOR_ROUTED = of(moe.PER_TENSOR_ROUTED, _MOE, **_WEIGHTS, **_FACTORS)
MOE_FP8_ROUTED = of(
    moe.FP8_BLOCKS,
    _MOE,
    **_WEIGHTS,
    **{f"{name}_scale": "float32" for name in _WEIGHTS},
)
MOE_BLOCKS = of(
    moe.BF16_BLOCKS,
    _MOE | {"num_hidden_blocks": 2, "num_intermediate_blocks": 2, "block_size": 64},
)
MOE_BLOCKS["name"] = MOE_BLOCKS["name"].replace("_blocks", "_blocks_renormalize")
MOE_BLOCKS["reference"] = MOE_BLOCKS["reference"].replace("TOP_K = 8", "TOP_K = 2")
for _case in (MOE_PER_TENSOR, MONO):
    _case["reference"] = _case["reference"].replace("TOP_K = 1", "TOP_K = 2")
MOE_FP4 = of(
    moe.FP4,
    _MOE
    | {"num_packed_hidden": 64, "num_packed_intermediate": 64}
    | {"num_fp4_hidden_blocks": 8, "num_fp4_intermediate_blocks": 8},
    **dict.fromkeys(("hidden_states", "gemm1_weights", "gemm2_weights"), BYTES),
    **dict.fromkeys(("hidden_states_scale", "gemm1_weights_scale", "gemm2_weights_scale"), FP8),
    **{name: "float32" for name in moe.FP4.inputs if name.startswith("output")},
)
_HEADS = {"num_qo_heads": 4, "num_kv_heads": 2, "head_dim": 16, "page_size": 2}
BATCH = of(planned.BATCH, _HEADS)
RAGGED = of(planned.RAGGED, _HEADS)
CASCADE = of(planned.CASCADE, {**_HEADS, "kv_cache_dim": 2})
POD = of(planned.POD, _HEADS)
BATCH_POD = of(planned.BATCH_POD, _HEADS)
PACKED = of(planned.PACKED, {"num_heads": 4, "head_dim": 16, "qkv_dim": 3})
_BLOCKS = {**_HEADS, "R": 2, "C": 4}
BLOCKS = of(sparse.BLOCKS, _BLOCKS)
BLOCKS["reference"] = (
    BLOCKS["reference"]
    .replace("BLOCK_ROWS = 1", "BLOCK_ROWS = 2")
    .replace("BLOCK_COLUMNS = 1", "BLOCK_COLUMNS = 4")
)
VARIABLE = of(sparse.VARIABLE, _HEADS, block_mask_map="bool")

XQA_MLA = definition(
    reference("xqa_mla", {"VALUE_DIM": 16}),
    {
        "q": (["batch_size", "beam_width", "num_heads", "d_qk"], "bfloat16"),
        "k_cache": (["num_pages", "page_size", "num_kv_heads", "d_qk"], "bfloat16"),
        "v_cache": (["num_pages", "page_size", "num_kv_heads", "d_qk"], "bfloat16"),
        "page_table": (["batch_size", "max_pages_per_seq"], "int32"),
        "seq_lens": (["batch_size", "beam_width"], "int32"),
    },
    {"output": (["batch_size", "beam_width", "num_heads", "head_dim_ckv"], "bfloat16")},
    name="xqa_mla_h4",
    consts={"beam_width": 1, "num_heads": 4, "d_qk": 20, "head_dim_ckv": 16}
    | {"num_kv_heads": 1, "page_size": 2},
)
APPEND = of(state.APPEND, {"num_kv_heads": 2, "head_dim": 4, "page_size": 2}, positions="int32")
_GATES = {"initial_state": "float32", "g": "float32", "beta": "float32"}
_GDN = {"num_q_heads": 2, "num_k_heads": 2, "num_v_heads": 4, "head_size": 8}
GDN = of(state.GDN_PREFILL, _GDN, cu_seqlens="int64", **_GATES)
CHAIN = of(state.CHAIN, {"vocab_size": 50}, draft_probs="float32", target_probs="float32")
_STEP = ["batch_size", "seq_len"]
_GATED = {name: ([*_STEP, "num_v_heads"], "bfloat16") for name in ("a", "b")}
_KV = (["batch_size", "num_v_heads", "head_size", "head_size"], "float32")
GDN_KV = definition(
    reference("gdn_decode_kv", {}),
    {
        "q": ([*_STEP, "num_q_heads", "head_size"], "bfloat16"),
        "k": ([*_STEP, "num_k_heads", "head_size"], "bfloat16"),
        "v": ([*_STEP, "num_v_heads", "head_size"], "bfloat16"),
        "state": _KV,
        "A_log": (["num_v_heads"], "float32"),
        "a": _GATED["a"],
        "dt_bias": (["num_v_heads"], "float32"),
        "b": _GATED["b"],
    },
    {"output": ([*_STEP, "num_v_heads", "head_size"], "bfloat16"), "new_state": _KV},
    name="gdn_decode_qk2_v4_d8_kv",
    op_type="gdn",
    consts={**_GDN, "seq_len": 1},
)
_LOGITS = (["batch_size", "v"], "bfloat16")
_LIMITS = {"top_k": (["batch_size"], "int32"), "top_p": (["batch_size"], "float32")}
SAMPLED = definition(
    reference("top_k_top_p_sampling_from_logits", {}),
    {"logits": _LOGITS, **_LIMITS},
    {"samples": (["batch_size"], "int32")},
    name="top_k_top_p_sampling_from_logits_v500",
    consts={"v": 500},
)
MASKED = definition(
    reference("top_k_mask_logits", {}),
    {"logits": _LOGITS, "top_k": _LIMITS["top_k"]},
    {"masked_logits": _LOGITS},
    name="top_k_mask_logits_v500",
    consts={"v": 500},
)

TRUE = {
    name: value
    for name, value in sorted(globals().items())
    if name.isupper() and isinstance(value, dict) and "reference" in value
}
FALSE = {
    "top-p looks at all of a row": mistaken(
        SAMPLED, "probs = torch.softmax(values", "probs = torch.softmax(logits.float()"
    ),
    "one k for all rows": mistaken(MASKED, "top_k.long()", "top_k.long().max().expand(3)"),
    "rows for blocks": mistaken(
        MOE_BLOCKS, "float().permute(1, 0, 2)", "flip(0).float().permute(1, 0, 2)"
    ),
    "not made to sum to one": mistaken(MOE_BLOCKS, 'ROUTING = "renormalize"', 'ROUTING = "ds0"'),
    "rows in the wrong page": mistaken(APPEND, "first + positions.long() // page_size", "first"),
    "keys not forgotten": mistaken(GDN, "(v[t].float() - known)", "v[t].float()"),
    "decay after the update": mistaken(GDN, "* g[t].float()[:, None, None]", "* 1.0"),
    "the state transposed": mistaken(GDN_KV, "bhk,bhv->bhkv", "bhv,bhk->bhkv"),
    "the most likely token": mistaken(
        CHAIN, "torch.multinomial(rest, 1)", "rest.argmax(dim=1, keepdim=True)"
    ),
    "a rejected draft is kept": mistaken(CHAIN, ".cumprod(dim=1)", ""),
    "values from the end": mistaken(XQA_MLA, "v[..., :VALUE_DIM]", "v[..., -VALUE_DIM:]"),
    "a scale left out": mistaken(NVFP4, "blocks * factor", "blocks / scales.float()"),
    "the second code first": mistaken(SILU, "codes[..., 0::2] + 16", "codes[..., 0::2] * 16 + 1"),
    "scales rounded down": mistaken(MXFP4, "(bits % 2**23 > 0)", "0"),
    "the wrong maximum": mistaken(MXFP8, "/ 448.0)", "/ 256.0)"),
    "no residual": mistaken(ADD_NORM, "input.float() + residual", "0 * input.float() + residual"),
    "another epsilon": mistaken(NORM, "EPS = 1e-6", "EPS = 1e-3"),
    "the last rows": mistaken(EXPERTS, "grid[:, :rows", "grid[:, -rows:"),
    "scales in rows": mistaken(GEMM_FP4, "permute(0, 1, 4, 3, 2, 5)", "permute(0, 1, 3, 4, 2, 5)"),
    "no alpha": mistaken(GEMM_FP8, " * alpha", ""),
    "one weight for all": mistaken(SEGMENTS, "weights[i]", "weights[0]"),
    "no scales": mistaken(GROUPS, "return numbers *", "return numbers + 0 *"),
    "gates and linear half swapped": mistaken(MOE_BF16, "up, gate =", "gate, up ="),
    "weights as integers": mistaken(MOE_BF16, "bits.view(torch.bfloat16)", "bits"),
    "a gate's scale after SiLU": mistaken(
        MOE_PER_TENSOR,
        "silu(gate * output1_scales_gate_scalar[expert])",
        "silu(gate) * output1_scales_gate_scalar[expert]",
    ),
    "the linear half first": mistaken(MONO, "gate, up =", "up, gate ="),
    "a scale for another expert": mistaken(
        MOE_FP4, "output2_scale_scalar[e]", "output2_scale_scalar[0]"
    ),
    "the whole last page": mistaken(
        BATCH, "count = int(kv_len[i])", "count = pages.shape[0] * k_cache.shape[1]"
    ),
    "no mask": mistaken(RAGGED, "CAUSAL = True", "CAUSAL = False"),
    "own keys only": mistaken(CASCADE, "in (shared, own)", "in (own,)"),
    "decode sees its last page": mistaken(POD, "rows.shape[0] - unused", "rows.shape[0]"),
    "prefills without mask": mistaken(BATCH_POD, "CAUSAL = True", "CAUSAL = False"),
    "values as keys": mistaken(PACKED, "q, k, v =", "q, v, k ="),
    "dense": mistaken(BLOCKS, "v, sm_scale, seen)", "v, sm_scale)"),
    "blocks of the first head": mistaken(VARIABLE, "block_mask_map[head]", "block_mask_map[0]"),
}
