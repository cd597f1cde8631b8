"""Products, experts, rotations and states at small sizes, true or with one mistake."""

from __future__ import annotations

from typing import Any

from kerneldefs.definition.own import reference

from .make import definition
from .own_cases import GDN_KV, mistaken

BF16, FP32, FP8 = "bfloat16", "float32", "float8_e4m3fn"


def rope(style: str, neox: bool) -> dict[str, Any]:
    rows = {x: (["n", f"{x}_heads", "head_dim"], BF16) for x in "qk"}
    return definition(
        reference("rope_cos_sin_cache", {"IS_NEOX": neox}),
        {**rows, "cos_sin_cache": (["length", "rotary"], FP32), "positions": (["n"], "int64")},
        {f"{name}_out": spec for name, spec in rows.items()},
        name=f"rope_with_cos_sin_cache_{style}_style_d16_rd8",
        consts={"head_dim": 16, "rotary": 8},
    )


def product(name: str, text: str, *, b: str = "nk", bias: bool = False) -> dict[str, Any]:
    inputs = {"A": (["M", "K"], BF16), "B": ([x.upper() for x in b], BF16)}
    inputs |= {"bias": (["N"], BF16)} if bias else {}
    consts = {"N": 24, "K": 16}
    return definition(text, inputs, {"C": (["M", "N"], BF16)}, name=name, consts=consts)  # type: ignore[arg-type]


MATMUL = (
    "import torch\n\n\ndef run(A, B):\n    return torch.matmul(A.float(), B.float()).bfloat16()\n"
)
PLAIN = product("gemm_bf16_N24_K16", MATMUL, b="kn")
BIAS = product("gemm_n24_k16", reference("gemm_bias", {}), bias=True)
GROUPS = definition(
    reference("gemm_fp8_block", {}),
    {
        "a": (["M", "K"], FP8),
        "b": (["N", "K"], FP8),
        "a_scale": (["M", "blocks_of_k"], FP32),
        "b_scale": (["blocks_of_n", "blocks_of_k"], FP32),
    },
    {"out": (["M", "N"], BF16)},
    name="gemm_fp8_nt_groupwise_n320_k256",
    consts={"N": 320, "K": 256, "blocks_of_n": 3, "blocks_of_k": 2},
)


def experts(routing: str, *, gated: bool = True, activation: str = "silu") -> dict[str, Any]:
    constants = {"ROUTING": routing, "TOP_K": 2, "ACTIVATION": activation}
    sizes = {"experts": 6, "top_k": 2, "local": 4, "h": 16, "i": 8, "rows": 16 if gated else 8}
    return definition(
        reference("moe_bf16", constants),
        {
            "routing_logits": (["n", "experts"], BF16),
            "hidden_states": (["n", "h"], BF16),
            "gemm1_weights": (["local", "rows", "h"], BF16),
            "gemm2_weights": (["local", "h", "i"], BF16),
        },
        {"output": (["n", "h"], BF16)},
        name=f"moe_bf16_{routing}_routing_topk2_e4_h16_i8",
        op_type="moe",
        consts=sizes,
        extra=("top_k",),
    )


_TURNED = """

def run(q, k, v, state, A_log, a, dt_bias, b):
    output, new_state = keys_first(q, k, v, state.mT, A_log, a, dt_bias, b)
    return output, new_state.mT
"""
GDN_DECODE = {
    **GDN_KV,
    "name": "gdn_decode_qk2_v4_d8",
    "reference": GDN_KV["reference"].replace("def run(", "def keys_first(") + _TURNED,
}
_TOKENS, _STATE = "total_seq_len", ["num_seqs", "num_v_heads", "head_size", "head_size"]
_ROW = {x: ([_TOKENS, f"num_{x}_heads", "head_size"], BF16) for x in "qkv"}
_GATE: tuple[list[str] | None, str] = ([_TOKENS, "num_v_heads"], BF16)
GDN_PREFILL = definition(
    reference("gdn_prefill", {}),
    {
        **_ROW,
        "state": (_STATE, FP32),
        "A_log": (["num_v_heads"], FP32),
        "a": _GATE,
        "dt_bias": (["num_v_heads"], FP32),
        "b": _GATE,
        "cu_seqlens": (["len_cu_seqlens"], "int64"),
        "scale": (None, FP32),
    },
    {"output": _ROW["v"], "new_state": (_STATE, FP32)},
    name="gdn_prefill_qk2_v4_d8",
    op_type="gdn",
    consts={"num_q_heads": 2, "num_k_heads": 2, "num_v_heads": 4, "head_size": 8},
    constraints=["len_cu_seqlens == num_seqs + 1", "total_seq_len == cu_seqlens[-1].item()"],
)
_CACHES = {x: (["num_pages", "page_size", f"head_dim_{x}"], BF16) for x in ("ckv", "kpe")}
APPEND_MLA = definition(
    """import torch


def run(append_ckv, append_kpe, batch_indices, positions, ckv_cache, kpe_cache, kv_indices,
        kv_indptr, kv_last_page_len):
    size = ckv_cache.shape[1]
    pages = kv_indices[kv_indptr[batch_indices.long()].long() + positions.long() // size].long()
    outputs = []
    for cache, rows in ((ckv_cache, append_ckv), (kpe_cache, append_kpe)):
        cache = cache.clone()
        cache[pages, positions.long() % size] = rows
        outputs.append(cache)
    return outputs[0], outputs[1]
""",
    {
        "append_ckv": (["nnz_kv", "head_dim_ckv"], BF16),
        "append_kpe": (["nnz_kv", "head_dim_kpe"], BF16),
        "batch_indices": (["nnz_kv"], "int32"),
        "positions": (["nnz_kv"], "int32"),
        **{f"{x}_cache": spec for x, spec in _CACHES.items()},
        "kv_indices": (["num_kv_indices"], "int32"),
        "kv_indptr": (["batch_size_plus_1"], "int32"),
        "kv_last_page_len": (["batch_size"], "int32"),
    },
    {f"{x}_cache_out": spec for x, spec in _CACHES.items()},
    name="append_paged_mla_kv_cache_ckv8_kpe4",
    op_type="page_append",
    consts={"head_dim_ckv": 8, "head_dim_kpe": 4},
    constraints=["batch_size_plus_1 == batch_size + 1"],
)
_HALVES = {"x": (["n", "two_m"], FP32)}


def gelu(name: str, kind: str) -> dict[str, Any]:
    text = (
        "import torch.nn.functional as F\n\n\ndef run(x):\n    gate, up = x.chunk(2, dim=-1)\n"
        f"    return F.gelu(gate, approximate='{kind}') * up\n"
    )
    consts = {"m": 16, "two_m": 32}
    return definition(text, _HALVES, {"y": (["n", "m"], FP32)}, name=name, consts=consts)  # type: ignore[arg-type]


LAYERNORM = definition(
    """EPS = 1e-6


def run(hidden_states, weight, bias):
    x = hidden_states.float()
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return (centred / (variance + EPS).sqrt() * weight + bias).bfloat16()
""",
    {"hidden_states": (["n", "h"], BF16), "weight": (["h"], FP32), "bias": (["h"], FP32)},
    {"output": (["n", "h"], BF16)},
    name="layernorm_h64",
    consts={"h": 64},
)

TRUE = {
    "rope neox": rope("neox", True),
    "rope gptj": rope("gptj", False),
    "gemm, weight transposed": PLAIN,
    "gemm bias": BIAS,
    "fp8 groups": GROUPS,
    "experts": experts("renormalize"),
    "experts, softmax first": experts("renormalize_naive"),
    "experts without gate": experts("renormalize", gated=False),
    "experts relu2": experts("renormalize", gated=False, activation="relu2"),
    "gdn decode": GDN_DECODE,
    "gdn prefill": GDN_PREFILL,
    "append mla": APPEND_MLA,
    "gelu": gelu("gelu_and_mul_h16", "none"),
    "gelu tanh": gelu("gelu_tanh_and_mul_h16", "tanh"),
    "layernorm": LAYERNORM,
}
FALSE = {
    "halves for neighbours": rope("gptj", True),
    "neighbours for halves": rope("neox", False),
    "turned the other way": mistaken(rope("neox", True), "first * cos -", "first * cos +"),
    "bias left out": mistaken(BIAS, "product + bias.float()", "product + 0 * bias.float()"),
    "squares as rows": mistaken(GROUPS, "b_scale.repeat", "b_scale[:1].repeat(3, 1).repeat"),
    "one scale a row": mistaken(GROUPS, "a_scale.repeat", "a_scale[:, :1].repeat(1, 2).repeat"),
    "weights that do not sum to one": mistaken(
        experts("renormalize_naive"), "ROUTING = 'renormalize_naive'", "ROUTING = 'default'"
    ),
    "gate first": mistaken(experts("renormalize"), "[:, width:]) *", "[:, :width]) *"),
    "experts of the next rank": mistaken(experts("renormalize"), "== local", "== local + 1"),
    "silu for relu2": mistaken(
        experts("renormalize", gated=False, activation="relu2"), ".square()", ""
    ),
    "state as keys first": {**GDN_KV, "name": "gdn_decode_qk2_v4_d8"},
    "state as values first": {**GDN_DECODE, "name": "gdn_decode_qk2_v4_d8_kv"},
    "no decay": mistaken(GDN_PREFILL, "s * decay[t]", "s * (0 * decay[t] + 1)"),
    "unscaled": mistaken(GDN_PREFILL, "(scale * torch", "(1.0 * torch"),
    "the first page": mistaken(APPEND_MLA, " + positions.long() // size", ""),
    "tanh for gelu": gelu("gelu_and_mul_h16", "tanh"),
    "layernorm's own epsilon": mistaken(LAYERNORM, "EPS = 1e-6", "EPS = 1e-1"),
}
