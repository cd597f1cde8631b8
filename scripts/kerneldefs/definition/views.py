"""How the calls of single FlashInfer APIs fill their templates: plan facts, cache layouts, tuples.

One row per API in `VIEWS`. A view returns evidence or raises `Quarantine`; it never guesses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from kerneldefs.capture.record import KernelCall, Template, TensorFact
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Received, Scalar, View

# An input that plan() takes -> the names it has there (flashinfer/decode.py, prefill.py and
# mla/_core.py, 0.6.18).
PLANNED = {
    "qo_indptr": ("qo_indptr",),
    "kv_indptr": ("kv_indptr", "paged_kv_indptr", "indptr"),
    "kv_indices": ("kv_indices", "paged_kv_indices", "indices"),
    "sm_scale": ("sm_scale",),
}


def plan_of(call: KernelCall) -> dict[str, Any]:
    """Return the wrapper's plan facts; without them nothing of run() can be trusted."""
    if not call.plan:
        raise Quarantine("no-plan", f"{call.op} was called without a recorded plan()")
    return call.plan


def planned(call: KernelCall, *names: str) -> Received:
    """Return the first plan argument that is set, under any of its names."""
    plan = plan_of(call)
    for name in names:
        value = plan.get(name)
        if isinstance(value, dict):
            fact = TensorFact(tuple(value["shape"]), value["dtype"], tuple(value["stride"]))
            return Received(tensor=fact)
        if value is not None:
            return Received(value=value)
    return Received()


def size(call: KernelCall, *names: str) -> int:
    """Return a planned size; a missing one is a quarantine."""
    value = planned(call, *names).value
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise Quarantine("no-plan", f"plan() of {call.op} gave no {names[0]}")
    return value


def planned_inputs(call: KernelCall, template: Template) -> dict[str, Received]:
    """Return the template's inputs that plan() took; the scale is always a float."""
    found = {key: planned(call, *names) for key, names in PLANNED.items() if key in template.inputs}
    if "sm_scale" in found:
        found["sm_scale"] = Received(value=scale_of(call))
    return found


def scale_of(call: KernelCall) -> float:
    """Return the softmax scale of a planned call: FlashInfer's default where plan() had none."""
    value: Scalar = planned(call, "sm_scale").value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return 1.0 / math.sqrt(size(call, "head_dim_qk", "head_dim", "head_dim_ckv"))


def with_shape(tensor: TensorFact, shape: tuple[int, ...]) -> TensorFact:
    """Return the same tensor seen in another shape; its strides are no evidence any more."""
    return TensorFact(shape, tensor.dtype, ())


def argument(call: KernelCall, name: str) -> TensorFact:
    """Return a tensor argument; a missing one is a quarantine."""
    if name not in call.tensors:
        raise Quarantine("no-tensor", f"{call.op} was called without a tensor {name}")
    return call.tensors[name]


def paged_cache(
    call: KernelCall, tensor: TensorFact, page: int, heads: int, dim: int, layout: Scalar
) -> tuple[TensorFact, str]:
    """Return a K or V cache as [pages, page, heads, dim] or HND's, and which of the two it is.

    SGLang's flashinfer backend passes [slots, heads, dim], which is NHD whatever the page size.
    """
    shape = tensor.shape
    fits = {
        "NHD": len(shape) == 4 and shape[1:] == (page, heads, dim),
        "HND": len(shape) == 4 and shape[1:] == (heads, page, dim),
    }
    if len(shape) == 3 and shape[1:] == (heads, dim) and shape[0] % page == 0:
        return with_shape(tensor, (shape[0] // page, page, heads, dim)), "NHD"
    found = [name for name, fit in fits.items() if fit and layout in (None, name)]
    if len(found) == 2 and page == heads == 1:
        found = ["NHD"]  # the same memory either way
    if len(found) != 1:
        said = "does not fit" if not found else "fits both layouts of"
        raise Quarantine(
            "kv-layout",
            f"the KV cache {list(shape)} of {call.op} {said} page size {page}, "
            f"{heads} heads and head dim {dim}",
        )
    return tensor, found[0]


def paged_gqa(call: KernelCall, template: Template) -> View:
    """BatchDecode/BatchPrefillWithPagedKVCacheWrapper.run: shapes from plan(), any cache layout."""
    page, heads = size(call, "page_size"), size(call, "num_kv_heads")
    dim = size(call, "head_dim_qk", "head_dim")
    out_dim = planned(call, "head_dim_vo").value or dim
    if out_dim != dim:
        raise Quarantine(
            "head-dims", f"{call.op} planned head dims {dim} and {out_dim}; the template has one"
        )
    if page > 1:
        raise Quarantine(
            "page-tail",
            f"the template of {call.op} has no last-page lengths, so at page size {page} its "
            "reference attends to the whole last page",
        )
    queries = argument(call, "q")
    expected = (queries.shape[0], size(call, "num_qo_heads"), dim)
    if queries.shape != expected:
        raise Quarantine("plan-mismatch", f"q is {list(queries.shape)}, planned {list(expected)}")
    layout = call.state.get("kv_layout")
    caches = split_cache(call, "paged_kv_cache")
    seen = [paged_cache(call, cache, page, heads, dim, layout) for cache in caches]
    received = planned_inputs(call, template)
    received |= {
        key: Received(tensor=cache)
        for key, (cache, _) in zip(("k_cache", "v_cache"), seen, strict=True)
    }
    dims = {}
    if seen[0][1] == "HND":
        order = ("num_pages", "num_kv_heads", "page_size", "head_dim")
        dims = {"k_cache": order, "v_cache": order}
    return View(received, dims, frozenset({"paged_kv_cache", "kv_layout"}))


def split_cache(call: KernelCall, name: str) -> tuple[TensorFact, TensorFact]:
    """Return K and V of a cache that was passed as a tuple, or as one [pages, 2, ...] tensor."""
    whole = call.tensors.get(name)
    if whole is None:
        return argument(call, f"{name}#0"), argument(call, f"{name}#1")
    if len(whole.shape) != 5 or whole.shape[1] != 2:
        raise Quarantine(
            "kv-layout", f"{name} of {call.op} is {list(whole.shape)}: neither a pair nor 5-D"
        )
    half = with_shape(whole, (whole.shape[0], *whole.shape[2:]))
    return half, half


def ragged_gqa(call: KernelCall, template: Template) -> View:
    """BatchPrefillWithRaggedKVCacheWrapper.run: offsets and scale from plan()."""
    heads, kv = size(call, "num_qo_heads"), size(call, "num_kv_heads")
    dim = size(call, "head_dim_qk")
    out_dim = planned(call, "head_dim_vo").value or dim
    for name, expected in (("q", (heads, dim)), ("k", (kv, dim)), ("v", (kv, out_dim))):
        if argument(call, name).shape[1:] != expected:
            found = list(argument(call, name).shape)
            raise Quarantine("plan-mismatch", f"{name} is {found}, planned [*, {expected}]")
    return View(planned_inputs(call, template))


def paged_mla(call: KernelCall, template: Template) -> View:
    """BatchMLAPagedAttentionWrapper.run: index arrays and scale from plan()."""
    page = size(call, "page_size")
    if page > 1:
        raise Quarantine(
            "page-tail",
            f"the template of {call.op} has no KV lengths, so at page size {page} its reference "
            "attends to the whole last page",
        )
    received = planned_inputs(call, template)
    for name, dim in (("ckv_cache", "head_dim_ckv"), ("kpe_cache", "head_dim_kpe")):
        cache, width = argument(call, name), size(call, dim)
        if math.prod(cache.shape) % (page * width) or cache.shape[-1] != width:
            raise Quarantine(
                "plan-mismatch", f"{name} is {list(cache.shape)}, planned [*, {page}, {width}]"
            )
        pages = math.prod(cache.shape) // (page * width)
        received[name] = Received(tensor=with_shape(cache, (pages, page, width)))
    return View(received)


def trtllm_paged(call: KernelCall, template: Template) -> View:
    """trtllm_batch_decode/context_with_kv_cache: a tuple of K and V is the template's 5-D cache."""
    whole = call.tensors.get("kv_cache")
    if whole is None:
        key, value = split_cache(call, "kv_cache")
        if key != value or len(key.shape) != 4:
            raise Quarantine(
                "kv-layout",
                f"K {list(key.shape)} and V {list(value.shape)} of {call.op} are no pair of "
                "equal 4-D caches",
            )
        whole = with_shape(key, (key.shape[0], 2, *key.shape[1:]))
    dims = {}
    if call.scalars.get("kv_layout") == "NHD":
        dims["kv_cache"] = ("num_pages", "kv_cache_dim", "page_size", "num_kv_heads", "head_dim")
    if "cum_seq_lens_q" not in template.inputs:
        one_query_each(call, argument(call, "query").shape[0], argument(call, "seq_lens").shape[-1])
    return View({"kv_cache": Received(tensor=whole)}, dims, frozenset({"kv_layout"}))


def trtllm_mla(call: KernelCall, template: Template) -> View:
    """trtllm_batch_decode_with_kv_cache_mla: the 3-D cache is the template's 4-D one."""
    query, cache = argument(call, "query"), argument(call, "kv_cache")
    if len(cache.shape) == 3:
        cache = with_shape(cache, (cache.shape[0], 1, *cache.shape[1:]))
    if len(query.shape) == 4:
        one_query_each(call, query.shape[0] * query.shape[1], query.shape[0])
    return View({"kv_cache": Received(tensor=cache)})


def one_query_each(call: KernelCall, queries: int, requests: int) -> None:
    """Quarantine a decode of several queries per request: the reference knows no causal mask."""
    if queries != requests:
        raise Quarantine(
            "multi-token-decode",
            f"{call.op} decoded {queries} queries of {requests} requests; the reference masks "
            "nothing among the queries of one request",
        )


VIEWS: dict[str, Callable[[KernelCall, Template], View]] = {
    "BatchDecodeWithPagedKVCacheWrapper.run": paged_gqa,
    "BatchPrefillWithPagedKVCacheWrapper.run": paged_gqa,
    "BatchPrefillWithRaggedKVCacheWrapper.run": ragged_gqa,
    "BatchMLAPagedAttentionWrapper.run": paged_mla,
    "trtllm_batch_decode_with_kv_cache": trtllm_paged,
    "trtllm_batch_context_with_kv_cache": trtllm_paged,
    "trtllm_batch_decode_with_kv_cache_mla": trtllm_mla,
    "xqa_batch_decode_with_kv_cache": trtllm_paged,
}
