"""TensorRT-LLM's paged attention with sinks or a window, which FlashInfer's templates leave out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Evidence, View
from kerneldefs.definition.own import OwnTemplate, Retarget
from kerneldefs.definition.views import trtllm_paged

_CAUSE = "flashinfer/trace/templates/attention.py (0.6.18): knows neither sinks nor a window"
_QUERIES = ("num_tokens", "num_heads", "head_dim")
DECODE = OwnTemplate(
    op_type="trtllm_paged",
    name_prefix="trtllm_batch_decode",
    description="Batched decode attention over a paged cache of keys and values side by side.",
    tags=("backend:trtllm", "stage:decode", "status:unverified"),
    axes={
        "num_tokens": (None, "Number of queries."),
        "num_heads": ("h", "Number of query heads on one rank."),
        "num_kv_heads": ("kv", "Number of key and value heads on one rank."),
        "head_dim": ("d", "Head dimension."),
        "num_pages": (None, "Number of pages of the cache."),
        "kv_cache_dim": ("", "Keys and values."),
        "page_size": ("ps", "Tokens per page."),
        "batch_size": (None, "Number of requests."),
        "max_pages_per_seq": (None, "Width of the table of pages."),
    },
    inputs={
        "query": (_QUERIES, "Queries."),
        "kv_cache": (
            ("num_pages", "kv_cache_dim", "num_kv_heads", "page_size", "head_dim"),
            "Keys, then values.",
        ),
        "block_tables": (("batch_size", "max_pages_per_seq"), "Pages of each request."),
        "seq_lens": (("batch_size",), "Keys of each request."),
        "bmm1_scale": ("float32", "Factor of the logits."),
        "bmm2_scale": ("float32", "Factor of the output."),
        "sinks": (("num_heads",), "A logit more of each head, with no key or value."),
    },
    outputs={"output": (_QUERIES, None, "Attention output.")},
    constraints=("num_tokens == batch_size",),
    reference="trtllm_paged_sinks",
    optional=("sinks",),
)
CONTEXT = dataclasses.replace(
    DECODE,
    name_prefix="trtllm_batch_context",
    description=(
        "Batched causal prefill attention over a paged cache of keys and values side by side. The "
        "last query of a request stands at its last key."
    ),
    tags=("backend:trtllm", "stage:prefill", "status:unverified"),
    axes={**DECODE.axes, "len_indptr": (None, "Number of requests + 1.")},
    inputs={
        **DECODE.inputs,
        "cum_seq_lens_q": (("len_indptr",), "Where each request's queries start, and the end."),
    },
    constraints=("num_tokens == cum_seq_lens_q[-1].item()", "len_indptr == batch_size + 1"),
)


def _if_masked(template: OwnTemplate) -> Callable[[Evidence], OwnTemplate | None]:
    """Return the choice of a template for calls with sinks or a window."""

    def choose(evidence: Evidence) -> OwnTemplate | None:
        window, sinks = evidence.scalar("window_left"), "sinks" in evidence.call.tensors
        if not sinks and window in (None, -1):
            return None
        if not isinstance(window, int) or evidence.scalar("kv_layout") not in (None, "HND"):
            raise Quarantine("variant", f"{evidence.call.op} with sinks or a window in NHD")
        words = [template.name_prefix, *["sinks"] * sinks]
        words += [f"win{window}"] if window >= 0 else []
        text = " Each head has a sink." * sinks
        if window >= 0:
            text += f" A query sees the {window} keys before its own position."
        return dataclasses.replace(
            template,
            name_prefix="_".join(words),
            description=template.description + text,
            constants={"WINDOW_LEFT": window},
        )

    return choose


def _view(evidence: Evidence) -> View:
    given = trtllm_paged(evidence.call, evidence.template)
    known = {"window_left", "cum_seq_lens_kv", "batch_size"}  # the last two repeat others
    return dataclasses.replace(given, understood=given.understood | known)


ROWS: dict[str, Retarget] = {
    "trtllm_batch_decode_with_kv_cache": Retarget(_CAUSE, _if_masked(DECODE), _view, "query"),
    "trtllm_batch_context_with_kv_cache": Retarget(_CAUSE, _if_masked(CONTEXT), _view, "query"),
}
