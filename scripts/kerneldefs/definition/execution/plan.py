"""The requests that the inputs of one definition describe, so that all of them tell one story."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from kerneldefs.definition.execution.sizes import REQUESTS

_OFFSETS = re.compile(r"indptr|cu_?(m_)?seq_?lens|cum_seq_lens")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Per request: tokens of the queries, tokens of the keys, pages of the keys."""

    queries: tuple[int, ...]
    keys: tuple[int, ...]
    pages: tuple[int, ...]
    page_size: int


_INDICES = ("num_kv_indices", "num_indices", "num_kv_indices_0", "num_kv_indices_p")
# Axes that count the tokens of all requests.
_TOKENS = ("total_q", "num_tokens", "total_rows", "total_seq_len", "total_q_len", "seq_len")


def plan(definition: Mapping[str, Any], axes: Mapping[str, int]) -> Plan:
    """Return the requests that fit the sizes of a definition's axes.

    Keys are never fewer than queries, as a causal mask wants it; the last page of a request is
    partly filled where an input tells how far.
    """
    count = _requests(definition, axes)
    queries = split(_first(axes, *_TOKENS, default=count), count)
    page_size = _first(axes, "page_size", "page_block_size", "block_size", default=1)
    inputs = " ".join(definition["inputs"])
    row = next((axes[name] for name in axes if re.search(r"max_.*pages|pages_per_seq", name)), None)
    if row is not None and "num_kv_indices" not in axes:
        # The last page may be partly filled, so it is not counted on.
        least = [-(-number // page_size) + (page_size > 1) for number in queries]
        pages = tuple(min(row, max(n, 1 + (i + row - 1) % row)) for i, n in enumerate(least))
    else:
        pages = split(_first(axes, *_INDICES, default=3 * count), count)
    total_keys = _first(axes, "total_kv", "total_k", "nnz_kv", default=0)
    if total_keys:
        spare = split(max(0, total_keys - sum(queries)), count)
        keys = tuple(a + b for a, b in zip(queries, spare, strict=True))
        if sum(keys) != total_keys:
            keys = split(total_keys, count)
    else:
        partial = re.search(r"last_page_len|seq_?len|kv_len", inputs) is not None
        keys = tuple(_length(n, page_size, i, partial) for i, n in enumerate(pages))
    return Plan(queries, keys, pages, page_size)


def split(total: int, count: int) -> tuple[int, ...]:
    """Return `count` uneven parts of a total, none empty where that is possible: 6, 3 -> 2, 1, 3.

    >>> split(9, 3)
    (3, 2, 4)
    """
    even, rest = divmod(total, count)
    parts = [even + (index < rest) for index in range(count)]
    if count > 2 and parts[1] > 1:
        parts[1], parts[-1] = parts[1] - 1, parts[-1] + 1
    return tuple(parts)


def _length(pages: int, page_size: int, index: int, partial: bool) -> int:
    full = pages * page_size
    return full - (page_size // (2 + index) if partial and page_size > 1 else 0)


def _requests(definition: Mapping[str, Any], axes: Mapping[str, int]) -> int:
    for name, spec in definition["inputs"].items():
        if _OFFSETS.search(name) and spec["shape"]:
            return max(1, axes[spec["shape"][0]] - 1)
    return _first(axes, "batch_size", "num_seqs", "num_sequences", "B", default=REQUESTS)


def _first(axes: Mapping[str, int], *names: str, default: int) -> int:
    return next((axes[name] for name in names if name in axes), default)
