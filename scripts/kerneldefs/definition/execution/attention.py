"""Softmax attention by torch's own operator, over the layouts that definitions have.

Shares nothing with the references: keys are gathered by their places in the cache, and the product
is `torch.nn.functional.scaled_dot_product_attention`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.nn.functional import pad, scaled_dot_product_attention


@dataclasses.dataclass(frozen=True)
class Mask:
    """Which keys a query sees; `window` keys before its own position, -1 for all."""

    causal: bool
    window: int = -1

    def seen(self, queries: int, keys: int) -> Any:
        """Return [queries, keys] booleans; the last query stands at the last key."""
        place = torch.arange(queries)[:, None] + keys - queries
        key = torch.arange(keys)[None, :]
        seen = torch.ones(queries, keys, dtype=torch.bool)
        if self.causal:
            seen &= key <= place
        if self.window >= 0:
            seen &= key >= place - self.window
        return seen


def mask_of(name: str, causal: bool) -> Mask:
    """Return the mask that a definition's name tells of, where its family is causal or not."""
    window = re.search(r"_win(\d+)", name)
    return Mask(causal and "noncausal" not in name, int(window[1]) if window else -1)


def attend(q: Any, k: Any, v: Any, scale: float, mask: Mask, sinks: Any = None) -> tuple[Any, Any]:
    """Return output [n, heads, e] and base-2 log-sum-exp [n, heads] of one request.

    q [n, heads, d], k [m, kv heads, d], v [m, kv heads, e]. A head's sink is what one key more has
    for its logit: a key and a value of zeros, and the sink in the additive mask.
    """
    seen = mask.seen(q.shape[0], k.shape[0])
    bias = torch.where(seen, 0.0, -torch.inf).expand(q.shape[1], -1, -1)
    q, k, v = (x.float().transpose(0, 1) for x in (q, k, v))
    if sinks is not None:
        bias = torch.cat([bias, sinks.float()[:, None, None].expand(-1, q.shape[1], 1)], dim=2)
        k, v = (pad(x, (0, 0, 0, 1)) for x in (k, v))
    output = scaled_dot_product_attention(
        q[None], k[None], v[None], attn_mask=bias[None], scale=scale, enable_gqa=True
    )[0]
    logits = torch.matmul(q, k.repeat_interleave(q.shape[0] // k.shape[0], dim=0).mT) * scale
    weights = torch.exp((logits + bias).double())
    return output.transpose(0, 1), torch.log2(weights.sum(-1)).float().T


def over_requests(
    requests: Iterator[tuple[Any, Any, Any]], scale: float, mask: Mask, sinks: Any = None
) -> tuple[Any, Any]:
    """Return output and log-sum-exp of requests (q, k, v), one after the other."""
    outputs, sums = zip(*(attend(*parts, scale, mask, sinks) for parts in requests), strict=True)
    return torch.cat(outputs), torch.cat(sums)


def parts(offsets: Any) -> list[slice]:
    """Return each request's slice."""
    return [slice(*pair) for pair in itertools.pairwise(offsets.tolist())]


def queries_of(values: Mapping[str, Any], count: int) -> list[slice]:
    """Return each request's queries: one, unless an input says otherwise."""
    for name in ("qo_indptr", "cum_seq_lens_q"):
        if name in values:
            return parts(values[name])
    return [slice(index, index + 1) for index in range(count)]


def tokens_first(cache: Any, dims: list[str]) -> Any:
    """Return a paged cache as [pages, page size, kv heads, dim] whatever its layout."""
    page = dims.index("page_size")
    heads = dims.index("num_kv_heads")
    return cache.transpose(page, heads) if heads < page else cache


def places(values: Mapping[str, Any], page_size: int) -> list[tuple[Any, Any]]:
    """Return each request's keys as (page, place in the page) index tensors."""
    if "block_tables" in values:
        lengths = values["seq_lens"].tolist()
        pages = list(values["block_tables"].long())
    else:
        pages = [values["kv_indices"][part].long() for part in parts(values["kv_indptr"])]
        last = values.get("kv_last_page_len")
        lasts = [page_size] * len(pages) if last is None else last.tolist()
        lengths = [(len(p) - 1) * page_size + n for p, n in zip(pages, lasts, strict=True)]
    found = []
    for table, length in zip(pages, lengths, strict=True):
        token = torch.arange(max(0, length))
        found.append((table[token // page_size], token % page_size))
    return found


def default_scale(values: Mapping[str, Any], head_dim: int) -> float:
    """Return the factor of the logits that the inputs give."""
    for name in ("sm_scale", "bmm1_scale"):
        if name in values:
            return float(values[name])
    return 1.0 / math.sqrt(head_dim)
