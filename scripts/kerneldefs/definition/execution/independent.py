"""What references compute, once more, by implementations that share no code with them.

Each takes a definition, its inputs and its run(), and returns pairs to compare: run()'s outputs
beside the same quantities from torch's own operators or a plain loop.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
from typing import Any

import torch
from torch.nn.functional import rms_norm, silu

from kerneldefs.definition.execution.attention import (
    Mask,
    attend,
    default_scale,
    mask_of,
    over_requests,
    parts,
    places,
    queries_of,
    tokens_first,
)
from kerneldefs.definition.execution.pairs import Definition, Pair, Run, Values
from kerneldefs.definition.execution.products import transposed


def epsilon_of(definition: Definition) -> float:
    """Return the epsilon that a norm's name says."""
    found = re.search(r"_eps([0-9.]+(?:e-?\d+)?)", definition["name"])
    return float(found[1]) if found else 1e-6  # what FlashInfer's templates fix


def norm(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """RMSNorm of the sum of the inputs by torch.nn.functional.rms_norm; gemma's weight is w + 1."""
    hidden = values["hidden_states"].float()
    if "residual" in values:
        hidden = hidden + values["residual"].float()
    weight = values["weight"].float() + ("gemma" in definition["name"])
    expected = rms_norm(hidden, hidden.shape[-1:], weight, epsilon_of(definition))
    pairs = [Pair(run(*values.values())[0], expected)]
    if len(definition["outputs"]) == 2:
        pairs.append(Pair(run(*values.values())[1], hidden))
    return pairs


def _compared(outputs: list[Any], expected: tuple[Any, Any]) -> list[Pair]:
    return [
        Pair(got, want.reshape(got.shape)) for got, want in zip(outputs, expected, strict=False)
    ]


def gqa_paged(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Paged attention, keys and values in two caches."""
    q = values["q"]
    dims = definition["inputs"]["k_cache"]["shape"]
    k, v = (tokens_first(values[name], dims) for name in ("k_cache", "v_cache"))
    where = places(values, k.shape[1])
    mask = mask_of(definition["name"], causal=True)  # a decode's only query stands at the end
    rows = queries_of(values, len(where))
    requests = ((q[row], k[at], v[at]) for row, at in zip(rows, where, strict=True))
    scale = default_scale(values, q.shape[-1])
    expected = over_requests(requests, scale, mask, values.get("sink"))
    return _compared(run(*values.values()), expected)


def trtllm_paged(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Paged attention, one cache whose second axis tells keys from values."""
    q = values["query"]
    dims = [dim for dim in definition["inputs"]["kv_cache"]["shape"] if dim != "kv_cache_dim"]
    k, v = (tokens_first(values["kv_cache"][:, side], dims) for side in (0, 1))
    where = places(values, k.shape[1])
    mask = mask_of(definition["name"], causal=True)
    rows = queries_of(values, len(where))
    requests = ((q[row], k[at], v[at]) for row, at in zip(rows, where, strict=True))
    scale = default_scale(values, q.shape[-1])
    output, sums = over_requests(requests, scale, mask, values.get("sinks"))
    return _compared(run(*values.values()), (output * values["bmm2_scale"], sums))


def ragged(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Attention over keys that lie one request after the other."""
    q, k, v = (values[name] for name in ("q", "k", "v"))
    rows = zip(parts(values["qo_indptr"]), parts(values["kv_indptr"]), strict=True)
    mask = mask_of(definition["name"], causal=True)
    requests = ((q[row], k[key], v[key]) for row, key in rows)
    scale = default_scale(values, q.shape[-1])
    return _compared(run(*values.values()), over_requests(requests, scale, mask))


def mla_paged(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """MLA after absorption: one key head [ckv, kpe], whose values are ckv."""
    q = torch.cat([values["q_nope"], values["q_pe"]], dim=-1)
    ckv = values["ckv_cache"][:, :, None]
    keys = torch.cat([ckv, values["kpe_cache"][:, :, None]], dim=-1)
    where = places(values, keys.shape[1])
    mask = mask_of(definition["name"], causal=True)
    rows = queries_of(values, len(where))
    requests = ((q[row], keys[at], ckv[at]) for row, at in zip(rows, where, strict=True))
    scale = default_scale(values, q.shape[-1])
    return _compared(run(*values.values()), over_requests(requests, scale, mask))


def mla_dense(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """The same in TRT-LLM's layout: query [requests, n, heads, ckv + kpe], one cache."""
    query, rank = values["query"], definition["axes"]["kv_lora_rank"]["value"]
    keys = values["kv_cache"].transpose(1, 2)
    where = places(values, keys.shape[1])
    requests = ((q, keys[at], keys[at][..., :rank]) for q, at in zip(query, where, strict=True))
    output, _ = over_requests(requests, float(values["bmm1_scale"]), Mask(causal=True))
    return [
        Pair(
            run(*values.values())[0],
            (output * values["bmm2_scale"]).reshape(*query.shape[:3], rank),
        )
    ]


def merge(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Merging the attention over two parts of the keys is attention over all of them."""
    rows, heads, dim = values["v_a"].shape
    q, k, v = (torch.randn(count, heads, dim) for count in (rows, 9, 9))
    mask, scale = Mask(causal=False), dim**-0.5
    states = [attend(q, k[part], v[part], scale, mask) for part in (slice(4), slice(4, 9))]
    dtypes = [getattr(torch, spec["dtype"]) for spec in definition["inputs"].values()]
    flat = [part.to(t) for part, t in zip(itertools.chain(*states), dtypes, strict=True)]
    return _compared(run(*flat), attend(q, k, v, scale, mask))


def _of_rows(limit: Any, rows: int) -> list[Any]:
    """A limit for each row, from one each or one for all."""
    return limit.tolist() if torch.is_tensor(limit) else [limit] * rows


def _largest(row: Any, k: int) -> float:
    """Return the k-th largest number of a row."""
    found: float = sorted(row.tolist())[-min(max(k, 1), len(row))]
    return found


def top_k_renorm(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Keep the k largest of each row, and what ties with the last of them; sum to one."""
    expected = []
    rows = values["probs"].double()
    for row, k in zip(rows, _of_rows(values["top_k"], len(rows)), strict=True):
        kept = torch.where(row >= _largest(row, k), row, 0.0)
        expected.append(kept / math.fsum(kept.tolist()))
    return [Pair(run(*values.values())[0], torch.stack(expected))]


def top_k_mask(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Keep the k largest of each row, and what ties with the last of them; minus infinity else."""
    rows = values["logits"].double()
    limits = _of_rows(values["top_k"], len(rows))
    expected = [
        torch.where(row >= _largest(row, k), row, -math.inf)
        for row, k in zip(rows, limits, strict=True)
    ]
    return [Pair(run(*values.values())[0], torch.stack(expected))]


def top_p_renorm(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Keep the largest of each row until they reach p; which of nearly equal sums is open."""
    expected, sure = [], []
    rows = values["probs"].double()
    for row, p in zip(rows, _of_rows(values["top_p"], len(rows)), strict=True):
        descending = sorted(row.tolist(), reverse=True)
        before = [0.0, *itertools.accumulate(descending)]
        count = bisect.bisect_left(before, p, hi=len(row))
        limit, whole = descending[max(count, 1) - 1], before[max(count, 1)]
        near = (bisect.bisect_right(before, p - 1e-4), bisect.bisect_left(before, p + 1e-4))
        close = descending[slice(*near)]
        edge = (close[-1], close[0]) if close else (2.0, 2.0)
        expected.append(torch.where(row >= limit, row / whole, 0.0))
        sure.append(~((row >= edge[0]) & (row <= edge[1])))
    return [Pair(run(*values.values())[0], torch.stack(expected), torch.stack(sure))]


def gemm(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """A times the transpose of B, by torch.matmul in float64."""
    return [Pair(run(*values.values())[0], transposed(values["A"], values["B"]))]


def gated_silu(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """SiLU of the first half times the second half."""
    (hidden,) = (value for value in values.values() if torch.is_tensor(value))
    gate, up = hidden.float().chunk(2, dim=-1)
    return [Pair(run(*values.values())[0], silu(gate) * up)]
