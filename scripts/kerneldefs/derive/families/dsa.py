"""Sparse attention over the keys that an indexer chose, and the indexer itself.

FlashInfer ships a template for the attention that no API carries, and no kernel for the indexer.
"""

from __future__ import annotations

from collections.abc import Iterator

from kerneldefs.capture.observe.ops import ATTENTION, INDEXER
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.own import OwnTemplate
from kerneldefs.derive.equivalent import (
    F32,
    I32,
    PAGE_SIZE,
    PAGES,
    TOKENS,
    Equivalent,
    Family,
    Options,
    Underivable,
    fact,
)

_QUERIES = ("num_tokens", "num_qo_heads")
DSA = OwnTemplate(
    op_type="dsa_paged",
    name_prefix="dsa_sparse_attention",
    description=(
        "Attention of each token to the keys that were chosen for it, over a paged compressed "
        "cache, after weight absorption."
    ),
    tags=("sparse:topk", "status:unverified"),
    axes={
        "num_tokens": (None, "Number of query tokens."),
        "num_qo_heads": ("h", "Number of query heads on one rank."),
        "head_dim_ckv": ("ckv", "Width of the compressed keys and values."),
        "head_dim_kpe": ("kpe", "Width of the keys' rotary part."),
        "topk": ("topk", "Keys of a token."),
        "page_size": ("ps", "Tokens per page."),
        "num_pages": (None, "Number of pages of the cache."),
    },
    inputs={
        "q_nope": ((*_QUERIES, "head_dim_ckv"), "Queries without rotary part."),
        "q_pe": ((*_QUERIES, "head_dim_kpe"), "Rotary part of the queries."),
        "ckv_cache": (("num_pages", "page_size", "head_dim_ckv"), "Compressed keys and values."),
        "kpe_cache": (("num_pages", "page_size", "head_dim_kpe"), "Rotary part of the keys."),
        "sparse_indices": (("num_tokens", "topk"), "Slots of a token's keys; -1 for none."),
        "sm_scale": (None, "Factor of the logits."),
    },
    outputs={
        "output": ((*_QUERIES, "head_dim_ckv"), None, "Attention output."),
        "lse": (_QUERIES, F32, "Base-2 log-sum-exp of the logits."),
    },
    constraints=(),
    reference="dsa_sparse_attention",
)


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    said = call.scalars
    if call.op == INDEXER:
        sizes = f"{said['num_heads']} heads of {said['head_dim']}, top {said['topk']}"
        raise Underivable("fi-missing", f"{call.layer}: FlashInfer has no sparse indexer ({sizes})")
    chosen = said.get("sparse_topk")
    if not chosen:
        return
    heads, ckv = said["num_qo_heads"], said["head_dim_vo"]
    kpe = said["head_dim_qk"] - ckv
    pages = options.page_sizes if PAGE_SIZE in options.variants else (64,)
    for size in pages:
        yield Equivalent(
            name=f"dsa_sparse_attention_h{heads}_ckv{ckv}_kpe{kpe}_topk{chosen}_ps{size}",
            op_type="dsa_paged",
            api="flashinfer.mla.trtllm_batch_decode_with_kv_cache_mla",
            prefix="dsa_sparse_attention",
            tensors={
                "q_nope": fact("bfloat16", TOKENS, heads, ckv),
                "q_pe": fact("bfloat16", TOKENS, heads, kpe),
                "ckv_cache": fact("bfloat16", PAGES, size, ckv),
                "kpe_cache": fact("bfloat16", PAGES, size, kpe),
                "sparse_indices": fact(I32, TOKENS, chosen),
            },
            scalars={"sm_scale": said["scale"]},
            outputs=(fact("bfloat16", TOKENS, heads, ckv), fact(F32, TOKENS, heads)),
            own=DSA,
            main="q_nope",
            variant="" if size == 64 else PAGE_SIZE,
            template=False,
            routed=True,
        )


FAMILY = Family("dsa", (ATTENTION, INDEXER), _equivalents)
