"""Attention over what plan() said, request by request and by torch's own operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from kerneldefs.definition.execution.attention import (
    Mask,
    attend,
    mask_of,
    over_requests,
    parts,
    places,
)
from kerneldefs.definition.execution.pairs import Definition, Pair, Run, Values

Request = tuple[Any, Any, Any]


def _compared(outputs: list[Any], expected: list[Any]) -> list[Pair]:
    return [Pair(got, want) for got, want in zip(outputs, expected, strict=False)]


def _paged(values: Values, side: str, caches: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield each request's keys and values; `side` is what the names of its offsets end in."""
    names = ("kv_indptr", "kv_indices", "kv_last_page_len")
    found = {name: values[name + side] for name in names if name + side in values}
    if "kv_len" in values:  # tokens of each request, in place of the last page's
        page = caches[0].shape[1]
        found["kv_last_page_len"] = (values["kv_len"] - 1) % page + 1
    for at in places(found, caches[0].shape[1]):
        yield caches[0][at], caches[1][at]


def batch(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Requests of any number of queries over one paged cache."""
    q, rows = values["q"], parts(values["qo_indptr"])
    pairs = _paged(values, "", (values["k_cache"], values["v_cache"]))
    requests: Iterator[Request] = ((q[row], k, v) for row, (k, v) in zip(rows, pairs, strict=True))
    mask = mask_of(definition["name"], causal=True)
    expected = over_requests(requests, float(values["sm_scale"]), mask)
    return _compared(run(*values.values()), list(expected))


def cascade(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """One query at a time, over its part's shared keys and its request's own ones."""
    cache = values["paged_kv_cache"]
    levels = [
        (
            parts(values[f"qo_indptr_{n}"]),
            list(_paged(values, f"_{n}", (cache[:, 0], cache[:, 1]))),
        )
        for n in (0, 1)
    ]
    expected = []
    for token in range(values["q"].shape[0]):
        seen = [
            keys
            for rows, every in levels
            for row, keys in zip(rows, every, strict=True)
            if row.start <= token < row.stop
        ]
        k, v = (torch.cat(x) for x in zip(*seen, strict=True))
        query = values["q"][token, None]
        expected.append(attend(query, k, v, float(values["sm_scale"]), Mask(causal=False))[0])
    return [Pair(run(*values.values())[0], torch.cat(expected))]


def pod(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Prefills, of one request or over a paged cache, and decodes."""
    scale, mask = float(values["sm_scale"]), mask_of(definition["name"], causal=True)
    if "k_p" in values:
        q, k, v = (values[name] for name in ("q_p", "k_p", "v_p"))
        prefill = attend(q, k, v, scale, mask)[0]
    else:
        rows = parts(values["qo_indptr_p"])
        keys = _paged(values, "_p", (values["k_cache_p"], values["v_cache_p"]))
        queries = (values["q_p"][row] for row in rows)
        prefill = over_requests(
            ((q, k, v) for q, (k, v) in zip(queries, keys, strict=True)), scale, mask
        )[0]
    keys = _paged(values, "_d", (values["k_cache_d"], values["v_cache_d"]))
    each = zip(values["q_d"].split(1), keys, strict=True)
    decode = over_requests(((q, k, v) for q, (k, v) in each), scale, Mask(causal=False))[0]
    return _compared(run(*values.values()), [prefill, decode])


def packed(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Queries, keys and values side by side."""
    rows = parts(values["cum_seq_lens_q"])
    requests: Iterator[Request] = (tuple(values["qkv"][row].unbind(1)) for row in rows)
    output, _ = over_requests(requests, float(values["bmm1_scale"]), Mask(causal=True))
    return [Pair(run(*values.values())[0], output * values["bmm2_scale"])]


def _masked(q: Any, k: Any, v: Any, scale: float, seen: Any) -> Any:
    """Attention of heads first tensors; queries that see nothing give zero."""
    q, k, v = (x.float()[None] for x in (q, k, v))
    found = scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale, enable_gqa=True)
    return torch.where(seen.any(-1)[..., None], found[0], 0.0)


def blocks(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Blocks of queries over listed blocks of keys, by a mask made element by element."""
    rows, columns = (definition["axes"][name]["value"] for name in ("R", "C"))
    q, k, v = (values[name].transpose(0, 1) for name in ("q", "k", "v"))
    listed = values["block_indices"].tolist()
    seen = torch.zeros(q.shape[1], k.shape[1], dtype=torch.bool)
    for block, part in enumerate(parts(values["block_indptr"])):
        for column in listed[part]:
            seen[block * rows : block * rows + rows, column * columns :][:, :columns] = True
    expected = _masked(q, k, v, float(values["sm_scale"]), seen).transpose(0, 1)
    return [Pair(run(*values.values())[0], expected)]


def variable_blocks(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Blocks of sizes of their own, by which block each query and each key is in."""
    q, k, v = (values[name] for name in ("q", "k", "v"))
    group, expected = q.shape[0] // k.shape[0], []
    for head in range(k.shape[0]):
        within = []
        for name in ("block_row_sz", "block_col_sz"):
            ends = values[name][head].long().cumsum(0)
            within.append(torch.bucketize(torch.arange(int(ends[-1])), ends, right=True))
        seen = values["block_mask_map"][head][within[0][:, None], within[1]]
        part = slice(head * group, head * group + group)
        scale = float(values["sm_scale"])
        expected.append(_masked(q[part], k[head, None], v[head, None], scale, seen))
    return [Pair(run(*values.values())[0], torch.cat(expected))]


def xqa_mla(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """One query a request; values are the first columns of their cache."""
    width = definition["axes"]["head_dim_ckv"]["value"]
    tables = {"block_tables": values["page_table"], "seq_lens": values["seq_lens"][:, 0]}
    k, v = values["k_cache"], values["v_cache"][..., :width]
    where = places(tables, k.shape[1])
    requests: Iterator[Request] = (
        (q, k[at], v[at]) for q, at in zip(values["q"], where, strict=True)
    )
    output, _ = over_requests(requests, 1.0, Mask(causal=False))
    return [Pair(run(*values.values())[0], output[:, None])]
