"""What the families of attention share: paged caches, and the kinds that they do not cover."""

from __future__ import annotations

from typing import Any

from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.equivalent import BF16, F32, I32, PAGES, REQUESTS, Underivable, fact, planned

OFFSETS = "Where each request's {} start; the last entry is their number."
PAGED_AXES = {
    "page_size": ("ps", "Tokens per page."),
    "num_pages": (None, "Number of pages of the cache."),
    "len_indptr": (None, "Number of requests + 1."),
    "num_kv_indices": (None, "Number of pages of all requests."),
}
PAGED_INPUTS = {
    "kv_indptr": (("len_indptr",), OFFSETS.format("pages")),
    "kv_indices": (("num_kv_indices",), "Pages of each request."),
    "kv_last_page_len": (("batch_size",), "Tokens on the last page of each request."),
    "sm_scale": (None, "Factor of the logits."),
}
QO_INDPTR = (("len_indptr",), OFFSETS.format("queries"))
DECODE_CONSTRAINTS = ("len_indptr == batch_size + 1", "num_kv_indices == kv_indptr[-1].item()")
PREFILL_CONSTRAINTS = ("total_q == qo_indptr[-1].item()", *DECODE_CONSTRAINTS)


def is_grouped(call: KernelCall) -> bool:
    """Whether keys and values have one head dimension, which MLA's have not."""
    return bool(call.scalars["head_dim_qk"] == call.scalars["head_dim_vo"])


def require_plain(call: KernelCall) -> None:
    """Sinks, encoders and cross attention have no equivalent among templates without sinks."""
    if call.scalars.get("sinks"):
        raise Underivable("attention-sinks", f"{call.layer}: attention with sinks")
    require_decoder(call)


def require_decoder(call: KernelCall) -> None:
    """Encoders and cross attention have no equivalent."""
    kind = call.scalars.get("attention")
    if kind not in (None, "decoder"):
        raise Underivable("attention-kind", f"{call.layer}: {kind} attention")


def require_every_key(call: KernelCall) -> None:
    """Attention over blocks of the cache that an indexer chooses has no equivalent."""
    if "idx_q" in call.tensors:
        raise Underivable(
            "attention-blocks",
            f"{call.layer}: attention over chosen blocks of the cache, whose choice no template "
            "describes",
        )


def query_dtype(call: KernelCall) -> str:
    """Return the dtype of queries; bfloat16 where a fused kernel kept them to itself."""
    queries = call.tensors.get("q")
    return queries.dtype if queries else BF16


def outputs(rows: tuple[str, ...], dim: str) -> dict[str, Any]:
    """Return the outputs of a template: attention by rows of heads, and its log-sum-exp."""
    return {
        "output": ((*rows, dim), None, "Attention output."),
        "lse": (rows, F32, "Base-2 log-sum-exp of the logits."),
    }


def planned_offsets(*names: str) -> dict[str, Any]:
    """Return offsets of requests as plan() is given them."""
    return {name: planned(fact(I32, REQUESTS + 1)) for name in names}


def paged_tensors(requests: int = REQUESTS) -> dict[str, Any]:
    """Return the index arrays of a paged cache."""
    return {
        "kv_indptr": fact(I32, requests + 1),
        "kv_indices": fact(I32, PAGES),
        "kv_last_page_len": fact(I32, requests),
    }
