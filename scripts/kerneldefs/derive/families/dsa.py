"""Sparse attention over the keys that an indexer chose, and the indexer itself.

FlashInfer ships a template for the attention that no API carries, and no kernel for the indexer,
whose kernels (DeepGEMM's) take FP8 keys on pages of 64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from kerneldefs.capture.observe.ops import ATTENTION, INDEXER
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.own import OwnTemplate
from kerneldefs.derive.attention import outputs
from kerneldefs.derive.equivalent import (
    F32,
    FP8,
    I32,
    PAGE_SIZE,
    PAGES,
    REQUESTS,
    TOKENS,
    Equivalent,
    Family,
    Options,
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
    outputs=outputs(_QUERIES, "head_dim_ckv"),
    constraints=(),
    reference="dsa_sparse_attention",
)


INDEXER_PAGE, SCALE_BYTES = 64, 4  # DeepGEMM's page, and a float32 scale behind each key
TOPK_INDEXER = OwnTemplate(
    op_type="dsa_paged",
    name_prefix="dsa_topk_indexer_fp8",
    description=(
        "Choice of each token's keys: the largest sums over the index heads of weight x ReLU(q . k)"
        ", over a paged cache of FP8 keys that holds a page's keys first and then their scales. "
        "Slots of the chosen keys, best first; -1 where a request has fewer."
    ),
    tags=("stage:decode", "sparse:topk", "quantization:fp8", "status:unverified"),
    axes={
        "batch_size": (None, "Number of requests, with one token each."),
        "num_index_heads": ("h", "Number of index heads, the same on every rank."),
        "index_head_dim": ("d", "Head dimension."),
        "topk": ("topk", "Keys of a token."),
        "page_size": ("ps", "Tokens per page."),
        "num_pages": (None, "Number of pages of the cache."),
        "max_num_pages": (None, "Pages of the longest request."),
        "kv_cache_num_heads": ("", "One key for all index heads."),
        "head_dim_with_scale": ("", "Bytes of a key and its scale."),
    },
    inputs={
        "q_index_fp8": (("batch_size", "num_index_heads", "index_head_dim"), "Index queries."),
        "k_index_cache_fp8": (
            ("num_pages", "page_size", "kv_cache_num_heads", "head_dim_with_scale"),
            "Index keys, and behind a page's keys their scales.",
        ),
        "weights": (("batch_size", "num_index_heads"), "Weights of heads, with the query scales."),
        "seq_lens": (("batch_size",), "Tokens of each request."),
        "block_table": (("batch_size", "max_num_pages"), "Pages of each request."),
    },
    outputs={"topk_indices": (("batch_size", "topk"), I32, "Slots of the chosen keys.")},
    constraints=(),
    reference="dsa_topk_indexer_fp8",
)


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    if call.op == INDEXER:
        if call.outputs:  # without any the backend attends to every key, and nothing was chosen
            yield _indexer(call)
        return
    said = call.scalars
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


def _indexer(call: KernelCall) -> Equivalent:
    said = call.scalars
    heads, dim, chosen = said["num_heads"], said["head_dim"], said["topk"]
    return Equivalent(
        name=f"dsa_topk_indexer_fp8_h{heads}_d{dim}_topk{chosen}_ps{INDEXER_PAGE}",
        op_type="dsa_paged",
        api="",
        prefix="dsa_topk_indexer_fp8",
        tensors={
            "q_index_fp8": fact(FP8, REQUESTS, heads, dim),
            "k_index_cache_fp8": fact("int8", PAGES, INDEXER_PAGE, 1, dim + SCALE_BYTES),
            "weights": fact(F32, REQUESTS, heads),
            "seq_lens": fact(I32, REQUESTS),
            "block_table": fact(I32, REQUESTS, PAGES // REQUESTS),
        },
        outputs=(fact(I32, REQUESTS, chosen),),
        sizes={"topk": chosen},
        own=dataclasses.replace(TOPK_INDEXER, constants={"TOP_K": chosen}),
        main="weights",
        template=False,
    )


FAMILY = Family("dsa", (ATTENTION, INDEXER), _equivalents)
