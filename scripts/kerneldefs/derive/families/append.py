"""New keys and values that are written into a paged cache.

FlashInfer's template of the grouped-query function declares one cache of four axes; the function
takes keys and values apart, or in one tensor of five.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kerneldefs.capture.observe.ops import ATTENTION, KV_APPEND
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.templates.state import APPEND
from kerneldefs.derive.attention import query_dtype
from kerneldefs.derive.equivalent import (
    I32,
    PAGE_SIZE,
    PAGES,
    REQUESTS,
    TOKENS,
    Equivalent,
    Family,
    Options,
    Underivable,
    fact,
)


def _of_attention(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    """What attention appends where a fused kernel does it: the sizes that its keys have."""
    said = call.scalars
    if call.scalars.get("attention") not in (None, "decoder"):
        return
    dtype = query_dtype(call)
    if said["head_dim_qk"] == said["head_dim_vo"]:
        sizes = options.page_sizes if PAGE_SIZE in options.variants else ()
        for size in dict.fromkeys((1, *sizes)):
            heads, dim = said["num_kv_heads"], said["head_dim_qk"]
            yield _append(dtype, heads, dim, size, PAGE_SIZE * (size != 1))
    elif said["num_kv_heads"] == 1:
        ckv = said["head_dim_vo"]
        yield _latent_of(dtype, ckv, said["head_dim_qk"] - ckv)


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    if call.op == ATTENTION:
        yield from _of_attention(call, options)
        return
    real = int(call.scalars.get("page_size") or 1)
    variants = options.page_sizes if PAGE_SIZE in options.variants else ()
    sizes = dict.fromkeys((real, *variants))
    if "cache_k_nope" in call.tensors or "cache_v" not in call.tensors:
        yield _latent(call)
        return
    key, value = call.tensors["cache_k"], call.tensors["cache_v"]
    if key.shape[-1] > value.shape[-1] and key.shape[-2] == 1:
        yield _latent(call)
        return
    if key.shape != value.shape or len(key.shape) != 3:
        raise Underivable(
            "append-form", f"{call.layer}: new keys {key.shape}, values {value.shape}"
        )
    for size in sizes:
        yield _append(key.dtype, key.shape[1], key.shape[2], size, PAGE_SIZE * (size != real))


def _append(dtype: str, heads: int, dim: int, size: int, variant: str) -> Equivalent:
    new, cache = fact(dtype, TOKENS, heads, dim), fact(dtype, PAGES, size, heads, dim)
    return Equivalent(
        name=f"append_paged_kv_cache_kv{heads}_d{dim}_ps{size}",
        op_type="page_append",
        api="flashinfer.page.append_paged_kv_cache",
        prefix="append_paged_kv_cache",
        tensors={
            "append_key": new,
            "append_value": new,
            "k_cache": cache,
            "v_cache": cache,
            **_places(),
        },
        outputs=(cache, cache),
        own=APPEND,
        main="append_key",
        variant=variant,
        template=False,
    )


def _places() -> dict[str, Any]:
    return {
        "batch_indices": fact(I32, TOKENS),
        "positions": fact(I32, TOKENS),
        "kv_indices": fact(I32, PAGES),
        "kv_indptr": fact(I32, REQUESTS + 1),
        "kv_last_page_len": fact(I32, REQUESTS),
    }


def _latent(call: KernelCall) -> Equivalent:
    whole = call.tensors["cache_k" if "cache_k" in call.tensors else "cache_k_nope"]
    rope = call.tensors.get("cache_k_rope")
    other = rope.shape[-1] if rope else None
    if other is None:
        value = call.tensors.get("cache_v")
        if value is None:
            raise Underivable("append-form", f"{call.layer}: a latent of unknown parts")
        ckv, kpe = value.shape[-1], whole.shape[-1] - value.shape[-1]
    else:
        ckv, kpe = whole.shape[-1], other
    return _latent_of(whole.dtype, ckv, kpe)


def _latent_of(dtype: str, ckv: int, kpe: int) -> Equivalent:
    return Equivalent(
        name=f"append_paged_mla_kv_cache_ckv{ckv}_kpe{kpe}",
        op_type="page_append",
        api="flashinfer.page.append_paged_mla_kv_cache",
        prefix="append_paged_mla_kv_cache",
        tensors={
            "append_ckv": fact(dtype, TOKENS, ckv),
            "append_kpe": fact(dtype, TOKENS, kpe),
            "ckv_cache": fact(dtype, PAGES, 16, ckv),
            "kpe_cache": fact(dtype, PAGES, 16, kpe),
            **_places(),
        },
    )


FAMILY = Family("page_append", (ATTENTION, KV_APPEND), _equivalents)
