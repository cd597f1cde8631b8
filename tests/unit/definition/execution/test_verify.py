"""Independent implementations agree with true references and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kerneldefs.definition.execution.child import loaded
from kerneldefs.definition.execution.inputs import generate
from kerneldefs.definition.execution.verify import ROWS, TOLERANCES, agreement, row_of
from kerneldefs.definition.own import reference

from .make import definition

NORM = """
import torch

EPS = {eps}

def run(hidden_states, {residual}weight):
    x = hidden_states.float(){plus}
    scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS)
    return (x * scale * (weight.float(){one})).to(torch.bfloat16)
"""
MERGE = """
import torch

def run(v_a, s_a, v_b, s_b):
    s = {logaddexp}(s_a, s_b)
    a, b = ({exp}(part - s)[..., None] for part in (s_a, s_b))
    return v_a * a + v_b * b, s
"""
RENORM = """
import torch

def run(probs, top_p):
    p, order = torch.sort(probs, dim=-1, descending=True)
    kept = torch.where(p.cumsum(-1){minus} < top_p[:, None], p, torch.zeros_like(p))
    kept = kept / kept.sum(-1, keepdim=True)
    return torch.zeros_like(probs).scatter_(-1, order, kept)
"""
TRTLLM = """
import torch

def run(query, kv_cache, block_tables, seq_lens, bmm1_scale, bmm2_scale{offsets}):
    output = torch.zeros_like(query)
    heads, kv_heads = query.shape[1], kv_cache.shape[{heads}]
    for i in range(block_tables.shape[0]):
        rows = {rows}
        n = int(seq_lens[i]){short}
        pages = kv_cache[block_tables[i].long()]{swapped}
        k, v = (pages[:, j].reshape(-1, kv_heads, query.shape[2])[:n] for j in (0, 1))
        k, v = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
        logits = torch.einsum("qhd,khd->hqk", query[rows], k) * bmm1_scale
        count = logits.shape[1]
        hidden = torch.arange(n)[None] > torch.arange(count)[:, None] + n - count
        weights = torch.softmax(logits.masked_fill(hidden, -float("inf")), -1)
        output[rows] = torch.einsum("hqk,khd->qhd", weights, v) * bmm2_scale
    return output
"""
DENSE = """
import torch

def run(query, kv_cache, block_tables, seq_lens, bmm1_scale, bmm2_scale):
    output = query.new_zeros(*query.shape[:3], 16)
    for i in range(len(query)):
        keys = kv_cache[block_tables[i].long()].reshape(-1, query.shape[3])[: int(seq_lens[i])]
        weights = torch.softmax(query[i] @ keys.T * bmm1_scale, -1)
        output[i] = weights @ keys[:, :{values}] * bmm2_scale
    return output
"""
GEMM = "def run(A, B):\n    return A @ B{t}\n"
SILU = """
import torch

def run(x):
    gate, up = x.chunk(2, dim=-1)
    return torch.nn.functional.{act}(gate) * up
"""


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


TRUE = {
    "rmsnorm": norm("rmsnorm_h64"),
    "rmsnorm eps": norm("rmsnorm_h64_eps1e-5", eps=1e-5),
    "fused_add_rmsnorm": norm("fused_add_rmsnorm_h64", residual=True),
    "gemma_rmsnorm": norm("gemma_rmsnorm_h64", gemma=True),
    "gemma_fused_add_rmsnorm": norm("gemma_fused_add_rmsnorm_h64", residual=True, gemma=True),
    "decode": attention(
        "gqa_paged_decode_h4", "gqa_paged_decode", paged("batch_size"), "batch_size"
    ),
    "decode window": attention(
        "gqa_paged_decode_h4_win1",
        "gqa_paged_decode",
        paged("batch_size"),
        "batch_size",
        WINDOW_LEFT=1,
    ),
    "prefill": attention("gqa_paged_prefill_h4", "gqa_paged_prefill", paged()),
    "prefill noncausal": attention(
        "gqa_paged_prefill_h4_noncausal", "gqa_paged_prefill", paged(), CAUSAL=False
    ),
    "ragged": ragged("gqa_ragged_h4"),
    "ragged window": ragged("gqa_ragged_h4_win1", WINDOW_LEFT=1),
    "mla ragged": ragged("mla_ragged_prefill_causal_h4"),
    "mla ragged noncausal": ragged("mla_ragged_prefill_noncausal_h4", CAUSAL=False),
    "mla prefill": mla("mla_paged_prefill_causal_h4"),
    "mla decode": mla_decode("mla_paged_decode_h4"),
    "trtllm decode": trtllm(),
    "trtllm context": trtllm("trtllm_batch_context_h4_kv2_d16_ps8"),
    "trtllm nhd": trtllm("trtllm_batch_decode_h4_kv2_d16_ps8_nhd", nhd=True),
    "trtllm mla": dense(),
    "merge": merge(),
    "top_k": renorm("top_k_renorm_probs_v500", TOP_K, "top_k", "int32"),
    "top_p": top_p(),
    "gemm": gemm(),
    "silu": gated(),
}
FALSE = {
    "another epsilon": norm("rmsnorm_h64", eps=1e-5),
    "an epsilon as the template's": norm("rmsnorm_h64_eps1e-5"),
    "gemma without its one": norm("gemma_rmsnorm_h64"),
    "a one without gemma": norm("rmsnorm_h64", gemma=True),
    "residual forgotten": norm("fused_add_rmsnorm_h64", residual=True)
    | {"reference": NORM.format(eps=1e-6, residual="residual, ", plus="", one="")},
    "causal as noncausal": ragged("gqa_ragged_h4_noncausal"),
    "noncausal as causal": ragged("gqa_ragged_h4", CAUSAL=False),
    "noncausal mla as causal": mla("mla_paged_prefill_causal_h4", CAUSAL=False),
    "window forgotten": ragged("gqa_ragged_h4_win1"),
    "window too many": ragged("gqa_ragged_h4", WINDOW_LEFT=1),
    "another window": ragged("gqa_ragged_h4_win1", WINDOW_LEFT=0),
    "last key forgotten": trtllm(short=" - 1"),
    "whole last page": trtllm(short=" // 8 * 8 + 8"),
    "page and head swapped": trtllm(swapped=".reshape(-1, 2, 8, 2, 16)"),
    "natural logarithm": merge("torch.logaddexp", "torch.exp"),
    "ties dropped": renorm("top_k_renorm_probs_v500", WRONG_TOP_K, "top_k", "int32"),
    "the one that reaches p dropped": top_p(minus=""),
    "gelu as silu": gated("gelu"),
    "B not transposed": gemm(t=""),
}


def compared(case: Any) -> dict[str, Any] | None:
    """Compare a definition's reference."""
    return agreement(case, generate(case).values, loaded(case["reference"]))


@pytest.mark.parametrize("name", TRUE)
def test_true_references_agree(name: str) -> None:
    found = compared(TRUE[name])
    assert found is not None and found["agrees"], found
    assert all(output["largest"] < 0.1 for output in found["outputs"].values())


@pytest.mark.parametrize("name", FALSE)
def test_false_references_do_not(name: str) -> None:
    found = compared(FALSE[name])
    assert found is not None and not found["agrees"], found


def test_every_row_is_tried() -> None:
    tried = {row.name for row in map(row_of, TRUE.values()) if row is not None}
    assert tried == {row.name for row in ROWS}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "gqa_ragged_h4_cap30"},
        {"name": "other_h64"},
        {"name": "rmsnorm_h64"},
        {"outputs": {"output": {"shape": ["total_q", "h", "e"], "dtype": "int8"}}},
    ],
)
def test_what_is_not_known_is_not_compared(change: dict[str, Any]) -> None:
    case = ragged("gqa_ragged_h4") | change
    assert compared(case) is None


def test_infinite_answers_are_not_within_a_tolerance() -> None:
    case = ragged("gqa_ragged_h4")
    text = case["reference"].replace("return output, lse", "return output, lse + float('inf')")
    found = compared(case | {"reference": text})
    assert found is not None and not found["agrees"]


def test_tolerances_are_those_of_the_dtype() -> None:
    found = compared(norm("rmsnorm_h64"))
    assert found is not None
    output = found["outputs"]["output"]
    assert (output["atol"], output["rtol"]) == TOLERANCES["bfloat16"]
    assert output["largest"] > 0
    assert torch.finfo(torch.bfloat16).eps / 2 < output["rtol"]
