"""Definitions of each family that has an independent implementation, true or mistaken."""

from __future__ import annotations

from typing import Any

from kerneldefs.definition.own import reference

from .make import definition
from .references import (
    DENSE,
    DS,
    EXPERTS,
    GEMM,
    MERGE,
    NORM,
    RENORM,
    RENORMALISED,
    ROUTED,
    SILU,
    TOPK,
    TRTLLM,
)


def routing(sum_of: int = 2, weights: str = "s") -> Any:
    """Return a definition of DeepSeek's routing."""
    inputs = {
        "scores": (["num_tokens", "num_experts"], "float32"),
        "bias": (["num_experts"], "float32"),
        "n_group": (None, "int32"),
        "topk_group": (None, "int32"),
        "routed_scaling_factor": (None, "float32"),
    }
    pair = ["num_tokens", "topk"]
    text = ROUTED.format(sum_of=sum_of, weights=weights) + TOPK
    outputs = {"values": (pair, "float32"), "indices": (pair, "int32")}
    consts = {"num_experts": 64, "topk": 4}
    name = "fused_topk_deepseek_e64_k4"
    return definition(text, inputs, outputs, name=name, consts=consts)


def moe(routing: str = "ds", halves: str = "up, gate", **parts: Any) -> Any:
    """Return a definition of a block-scaled mixture of experts."""
    text = "import torch\n" + EXPERTS.format(halves=halves)
    if routing == "ds":
        text += ROUTED.format(**{"sum_of": 2, "weights": "s", **parts}) + DS
    else:
        rest = {"topk": "topk(4, dim=-1)", "scale": " * scale", **parts}
        text += RENORMALISED.format(**rest)
    local, hidden, first, second = (
        *("num_local_experts", "hidden_size", "gemm1_out_size", "intermediate_size"),
    )
    inputs = {
        "routing_logits": (["seq_len", "num_experts"], "float32"),
        "routing_bias": (["num_experts"], "float32"),
        "hidden_states": (["seq_len", hidden], "float8_e4m3fn"),
        "hidden_states_scale": (["hidden_blocks", "seq_len"], "float32"),
        "gemm1_weights": ([local, first, hidden], "float8_e4m3fn"),
        "gemm1_weights_scale": ([local, "gemm1_blocks", "hidden_blocks"], "float32"),
        "gemm2_weights": ([local, hidden, second], "float8_e4m3fn"),
        "gemm2_weights_scale": ([local, "hidden_blocks", "intermediate_blocks"], "float32"),
        "local_expert_offset": (None, "int32"),
        "routed_scaling_factor": (None, "float32"),
    }
    if routing != "ds":
        del inputs["routing_bias"]
    sizes = {"num_experts": 16, local: 8, hidden: 32, first: 64, second: 32, "hidden_blocks": 2}
    sizes |= {"gemm1_blocks": 4, "intermediate_blocks": 2}
    routes = {"top_k": 4, "n_group": 4, "topk_group": 2}
    name = f"moe_fp8_block_scale_{routing}_routing_topk4_e8"
    outputs = {"output": (["seq_len", hidden], "bfloat16")}
    more = {"name": name, "op_type": "moe", "consts": sizes | routes, "extra": list(routes)}
    return definition(text, inputs, outputs, **more)


def sampled(name: str, which: str, **limits: str) -> Any:
    """Return a definition that draws by one of our references."""
    inputs = {"probs": (["batch_size", "v"], "float32")}
    inputs |= {limit: (["batch_size"], dtype) for limit, dtype in limits.items()}
    outputs = {"samples": (["batch_size"], "int32")}
    return definition(reference(which, {}), inputs, outputs, name=name, consts={"v": 500})


def norm(name: str, residual: bool = False, gemma: bool = False, eps: float = 1e-6) -> Any:
    """Return a definition of an RMSNorm whose reference has an epsilon."""
    text = NORM.format(
        eps=eps,
        residual="residual, " if residual else "",
        plus=" + residual.float()" if residual else "",
        one=" + 1.0" if gemma else "",
    )
    rows = ["batch_size", "hidden_size"]
    inputs = {"hidden_states": (rows, "bfloat16"), "residual": (rows, "bfloat16")}
    if not residual:
        del inputs["residual"]
    inputs["weight"] = (["hidden_size"], "bfloat16")
    outputs = {"output": (rows, "bfloat16")}
    more = {"name": name, "op_type": "rmsnorm", "consts": {"hidden_size": 64}}
    return definition(text, inputs, outputs, **more)


Q = {"q": (["total_q", "h", "d"], "float32")}
OFFSETS = {"qo_indptr": (["len_indptr"], "int32"), "kv_indptr": (["len_indptr"], "int32")}
SCALE = {"sm_scale": (None, "float32")}
ATTENDED = {"output": (["total_q", "h", "e"], "float32"), "lse": (["total_q", "h"], "float32")}
SIZES = {"h": 4, "kv": 2, "d": 16, "e": 16, "num_kv_heads": 2, "page_size": 1, "c": 16, "r": 4}


def attention(name: str, which: str, inputs: Any, dims: str = "total_q", **constants: Any) -> Any:
    """Return a definition with one of our attention references."""
    outputs = {k: ([dims, *shape[1:]], dtype) for k, (shape, dtype) in ATTENDED.items()}
    return definition(reference(which, constants), inputs, outputs, name=name, consts=SIZES)


def paged(dims: str = "total_q") -> Any:
    """Return the inputs of paged attention."""
    cache = (["num_pages", "page_size", "num_kv_heads", "d"], "float32")
    indices = {"kv_indices": (["num_kv_indices"], "int32")}
    offsets = OFFSETS if dims == "total_q" else {"kv_indptr": (["len_indptr"], "int32")}
    q = {"q": ([dims, "h", "d"], "float32")}
    return {**q, "k_cache": cache, "v_cache": cache, **offsets, **indices, **SCALE}


def ragged(name: str, **constants: Any) -> Any:
    """Return a definition of ragged attention."""
    kv = {"k": (["total_kv", "kv", "d"], "float32"), "v": (["total_kv", "kv", "e"], "float32")}
    return attention(name, "gqa_ragged_prefill", {**Q, **kv, **OFFSETS, **SCALE}, **constants)


def mla(name: str, **constants: Any) -> Any:
    """Return a definition of paged MLA."""
    inputs = {
        "q_nope": (["total_q", "h", "c"], "float32"),
        "q_pe": (["total_q", "h", "r"], "float32"),
        "ckv_cache": (["num_pages", "page_size", "c"], "float32"),
        "kpe_cache": (["num_pages", "page_size", "r"], "float32"),
        **OFFSETS,
        "kv_indices": (["num_kv_indices"], "int32"),
        **SCALE,
    }
    return attention(name, "mla_paged_prefill", inputs, **constants)


def mla_decode(name: str) -> Any:
    """Return a definition of paged MLA with one query for each request."""
    case = mla(name, CAUSAL=False)
    del case["inputs"]["qo_indptr"]
    text = case["reference"].replace("    qo_indptr: torch.Tensor,\n", "")
    text = text.replace("qo_indptr.shape[0]", "kv_indptr.shape[0]")
    text = text.replace("slice(int(qo_indptr[i]), int(qo_indptr[i + 1]))", "slice(i, i + 1)")
    return renamed({**case, "reference": text}, "total_q", "batch_size")


def renamed(case: Any, old: str, new: str) -> Any:
    """Return a definition with an axis renamed."""
    for spec in (*case["inputs"].values(), *case["outputs"].values()):
        spec["shape"] = spec["shape"] and [new if dim == old else dim for dim in spec["shape"]]
    case["axes"][new] = case["axes"].pop(old)
    return case


def merge(logaddexp: str = "torch.logaddexp2", exp: str = "torch.exp2") -> Any:
    """Return a definition that merges two attention states."""
    v, s = (["seq_len", "h", "d"], "float32"), (["seq_len", "h"], "float32")
    text = MERGE.format(logaddexp=logaddexp, exp=exp)
    inputs = {"v_a": v, "s_a": s, "v_b": v, "s_b": s}
    outputs = {"v_merged": v, "s_merged": s}
    return definition(text, inputs, outputs, name="merge_state_h4_d16", consts=SIZES)


def renorm(name: str, text: str, limit: str, dtype: str) -> Any:
    """Return a definition that filters probabilities."""
    probs = (["batch_size", "v"], "float32")
    inputs = {"probs": probs, limit: (["batch_size"], dtype)}
    return definition(text, inputs, {"y": probs}, name=name, consts={"v": 500})


def trtllm(
    name: str = "trtllm_batch_decode_h4_kv2_d16_ps8", nhd: bool = False, **parts: Any
) -> Any:
    """Return a definition of attention in TRT-LLM's layout."""
    order = ["page_size", "num_kv_heads"] if nhd else ["num_kv_heads", "page_size"]
    context = "context" in name
    inputs = {
        "query": (["num_tokens", "h", "d"], "float32"),
        "kv_cache": (["num_pages", "kv_cache_dim", *order, "d"], "float32"),
        "block_tables": (["batch_size", "max_pages_per_seq"], "int32"),
        "seq_lens": (["batch_size"], "int32"),
        "bmm1_scale": (None, "float32"),
        "bmm2_scale": (None, "float32"),
        **({"cum_seq_lens_q": (["batch_size_plus_1"], "int32")} if context else {}),
    }
    rows = (
        "slice(int(cum_seq_lens_q[i]), int(cum_seq_lens_q[i + 1]))"
        if context
        else "slice(i, i + 1)"
    )
    text = TRTLLM.format(
        **{
            "offsets": ", cum_seq_lens_q" if context else "",
            "rows": rows,
            "heads": 3 if nhd else 2,
            "swapped": "" if nhd else ".transpose(2, 3)",
            "short": "",
            **parts,
        }
    )
    outputs = {"output": (["num_tokens", "h", "d"], "float32")}
    consts = {**SIZES, "page_size": 8, "kv_cache_dim": 2}
    return definition(text, inputs, outputs, name=name, consts=consts)


def dense(values: int = 16) -> Any:
    """Return a definition of MLA in TRT-LLM's layout."""
    inputs = {
        "query": (["batch_size", "q_len_per_request", "h", "head_dim_qk"], "float32"),
        "kv_cache": (["num_pages", "kv_pad_dim", "page_size", "head_dim_qk"], "float32"),
        "block_tables": (["batch_size", "max_pages_per_seq"], "int32"),
        "seq_lens": (["batch_size"], "int32"),
        "bmm1_scale": (None, "float32"),
        "bmm2_scale": (None, "float32"),
    }
    shape = ["batch_size", "q_len_per_request", "h", "kv_lora_rank"]
    consts = {"h": 4, "head_dim_qk": 20, "kv_lora_rank": 16, "kv_pad_dim": 1, "page_size": 8}
    name = "trtllm_batch_decode_mla_dense_h4"
    text = DENSE.format(values=values)
    return definition(text, inputs, {"output": (shape, "float32")}, name=name, consts=consts)


def gemm(t: str = ".T") -> Any:
    """Return a definition of a matrix product."""
    inputs = {"A": (["M", "K"], "float32"), "B": (["N", "K"], "float32")}
    outputs = {"C": (["M", "N"], "float32")}
    consts = {"N": 16, "K": 16}
    return definition(GEMM.format(t=t), inputs, outputs, name="gemm_n16_k16", consts=consts)


def gated(act: str = "silu") -> Any:
    """Return a definition of a gated activation."""
    inputs = {"x": (["n", "two_m"], "float32")}
    outputs = {"y": (["n", "m"], "float32")}
    consts = {"m": 16, "two_m": 32}
    return definition(SILU.format(act=act), inputs, outputs, name="silu_and_mul_d16", consts=consts)


TOP_K = reference("top_k_renorm_probs", {})
WRONG_TOP_K = TOP_K.replace("values >= threshold", "values > threshold")
TOP_P = ("top_p_renorm_probs_v500", RENORM, "top_p", "float32")


def top_p(minus: str = " - p") -> Any:
    """Return a definition of top-p renormalisation."""
    return renorm(TOP_P[0], RENORM.format(minus=minus), *TOP_P[2:])
