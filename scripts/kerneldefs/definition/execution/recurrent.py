"""The gated delta rule, caches and drafts once more: matrices, loops and counting."""

from __future__ import annotations

from typing import Any

import torch

from kerneldefs.definition.execution.attention import parts
from kerneldefs.definition.execution.drawn import SHARES
from kerneldefs.definition.execution.pairs import Definition, Pair, Run, Values


def _step(state: Any, k: Any, v: Any, decay: float, beta: float) -> Any:
    """One token of one head: the state [V, K] times decay * (1 - beta k k'), plus beta v k'.

    Equation 10 of arXiv 2412.06464 (Gated Delta Networks), in float64.
    """
    forgetting = torch.eye(len(k), dtype=torch.float64) - beta * torch.outer(k, k)
    return decay * state @ forgetting + beta * torch.outer(v, k)


def gdn_prefill(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Sequences one head and one token at a time."""
    q, k, v, g, beta = (values[name].double() for name in ("q", "k", "v", "g", "beta"))
    outputs = torch.zeros(v.shape, dtype=torch.float64)
    states = values["initial_state"].double().clone()
    for index, part in enumerate(parts(values["cu_seqlens"])):
        for head in range(v.shape[1]):
            places = [head * x.shape[1] // v.shape[1] for x in (q, k)]
            for t in range(part.start, part.stop):
                key, gates = k[t, places[1]], (float(g[t, head]), float(beta[t, head]))
                states[index, head] = _step(states[index, head], key, v[t, head], *gates)
                outputs[t, head] = states[index, head] @ q[t, places[0]] / q.shape[2] ** 0.5
    return [
        Pair(got, want) for got, want in zip(run(*values.values()), (outputs, states), strict=True)
    ]


def gdn_decode(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """One token of each request; the state is [K, V]."""
    q, k, v, a, b = (values[name][:, 0].double() for name in ("q", "k", "v", "a", "b"))
    rates, bias = values["A_log"].double().exp(), values["dt_bias"].double()
    states = values["state"].double().mT.clone()
    outputs = torch.zeros(v.shape, dtype=torch.float64)
    for row in range(v.shape[0]):
        for head in range(v.shape[1]):
            places = [head * x.shape[1] // v.shape[1] for x in (q, k)]
            softplus = torch.log1p(torch.exp(a[row, head] + bias[head]))
            gates = (float(torch.exp(-rates[head] * softplus)), float(torch.sigmoid(b[row, head])))
            key = k[row, places[1]]
            states[row, head] = _step(states[row, head], key, v[row, head], *gates)
            outputs[row, head] = states[row, head] @ q[row, places[0]] / q.shape[2] ** 0.5
    got = run(*values.values())
    return [Pair(got[0], outputs[:, None]), Pair(got[1], states.mT)]


def append(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Rows of keys and values, written one by one."""
    expected = [values[name].clone() for name in ("k_cache", "v_cache")]
    owners, places = values["batch_indices"].tolist(), values["positions"].tolist()
    starts, pages = values["kv_indptr"].tolist(), values["kv_indices"].tolist()
    for row, (owner, place) in enumerate(zip(owners, places, strict=True)):
        page, offset = divmod(place, expected[0].shape[1])
        for cache, name in zip(expected, ("append_key", "append_value"), strict=True):
            cache[pages[starts[owner] + page], offset] = values[name][row]
    exact = (0.0, 0.0)
    return [
        Pair(got, want, tolerance=exact)
        for got, want in zip(run(*values.values()), expected, strict=True)
    ]


ROWS = 20_000
_DRAFT = ((0.5, 0.2, 0.2, 0.1), (0.1, 0.1, 0.4, 0.4))
_TARGET = ((0.2, 0.3, 0.1, 0.4), (0.3, 0.1, 0.4, 0.2), (0.25, 0.05, 0.6, 0.1))


def chain(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Counted over many rows: every token has the target's share, whatever the draft was.

    A drafted token is accepted as often as both distributions have in common (arXiv 2211.17192).
    """
    draft, target = torch.tensor(_DRAFT), torch.tensor(_TARGET)
    ids = torch.stack([torch.multinomial(row, ROWS, replacement=True) for row in draft], dim=1)
    dtypes = [getattr(torch, spec["dtype"]) for spec in definition["inputs"].values()]
    inputs = (draft.repeat(ROWS, 1, 1), ids, target.repeat(ROWS, 1, 1))
    tokens, accepted, emitted = run(*(x.to(t) for x, t in zip(inputs, dtypes, strict=True)))
    common = torch.minimum(draft, target[:2]).sum(dim=1)
    got, expected = [], []
    for place in range(3):
        reached = tokens[:, place][tokens[:, place] >= 0].long()
        got.append(torch.bincount(reached, minlength=4) / ROWS)
        expected.append(target[place] * common[:place].prod())
    means = [emitted.float().mean()[None], accepted.float().mean()[None]]
    wanted = [(common[0] + common.prod())[None], common.sum()[None]]
    return [
        Pair(torch.cat(got), torch.cat(expected), tolerance=SHARES),
        Pair(means[1], wanted[1], tolerance=SHARES),
        Pair(means[0], wanted[0], tolerance=SHARES),
    ]
