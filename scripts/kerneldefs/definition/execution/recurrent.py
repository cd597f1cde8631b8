"""The gated delta rule, caches and drafts once more: matrices, loops and counting."""

from __future__ import annotations

from typing import Any

import torch

from kerneldefs.definition.execution.attention import parts
from kerneldefs.definition.execution.drawn import tolerance
from kerneldefs.definition.execution.pairs import Definition, Pair, Run, Values


def _step(state: Any, k: Any, v: Any, decay: float, beta: float) -> Any:
    """One token of one head: the state [V, K] times decay * (1 - beta k k'), plus beta v k'.

    Equation 10 of arXiv 2412.06464 (Gated Delta Networks), in float64.
    """
    forgetting = torch.eye(len(k), dtype=torch.float64) - beta * torch.outer(k, k)
    return decay * state @ forgetting + beta * torch.outer(v, k)


def _steps(
    values: Values, decay: Any, beta: Any, states: Any, sequences: list[slice]
) -> tuple[Any, Any]:
    """Sequences one head and one token at a time; q, k, v [tokens, heads, d], states [V, K]."""
    q, k, v = (values[name].double() for name in ("q", "k", "v"))
    scale = values.get("scale") or q.shape[2] ** -0.5
    outputs, states = torch.zeros(v.shape, dtype=torch.float64), states.double().clone()
    for index, part in enumerate(sequences):
        for head in range(v.shape[1]):
            places = [head * x.shape[1] // v.shape[1] for x in (q, k)]
            for t in range(part.start, part.stop):
                key, gates = k[t, places[1]], (float(decay[t, head]), float(beta[t, head]))
                states[index, head] = _step(states[index, head], key, v[t, head], *gates)
                outputs[t, head] = states[index, head] @ q[t, places[0]] * scale
    return outputs, states


def _gates(values: Values) -> tuple[Any, Any]:
    """The decay and the strength of each update [tokens, heads], from a, b, A_log and dt_bias."""
    softplus = torch.log1p(torch.exp(values["a"].double() + values["dt_bias"].double()))
    decay = torch.exp(-values["A_log"].double().exp() * softplus)
    return decay, 1 / (1 + torch.exp(-values["b"].double()))


def gdn_prefill(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Sequences with their gates, given or computed."""
    given = "g" in values
    decay, beta = (values["g"], values["beta"]) if given else _gates(values)
    states = values["initial_state" if given else "state"]
    found = _steps(values, decay, beta, states, parts(values["cu_seqlens"]))
    return [Pair(got, want) for got, want in zip(run(*values.values()), found, strict=True)]


def gdn_decode(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """One token of each request; a state [K, V] where the name says so, else [V, K]."""
    keys_first = definition["name"].endswith("_kv")
    single = {name: values[name][:, 0] for name in ("q", "k", "v", "a", "b")}
    states = values["state"].mT if keys_first else values["state"]
    tokens = [slice(row, row + 1) for row in range(len(states))]
    outputs, states = _steps({**values, **single}, *_gates({**values, **single}), states, tokens)
    got = run(*values.values())
    return [Pair(got[0], outputs[:, None]), Pair(got[1], states.mT if keys_first else states)]


def append(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Rows of two caches, written one by one."""
    caches = [name for name in values if name.endswith("_cache")]
    rows = [name for name in values if name.startswith("append_")]
    expected = [values[name].clone() for name in caches]
    owners, places = values["batch_indices"].tolist(), values["positions"].tolist()
    starts, pages = values["kv_indptr"].tolist(), values["kv_indices"].tolist()
    for row, (owner, place) in enumerate(zip(owners, places, strict=True)):
        page, offset = divmod(place, expected[0].shape[1])
        for cache, name in zip(expected, rows, strict=True):
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
    shares = torch.cat(expected)
    means = [emitted.float().mean()[None], accepted.float().mean()[None]]
    wanted = [(common[0] + common.prod())[None], common.sum()[None]]
    # An absolute tolerance is one of outputs whose largest number is one; means are of 0, 1 and 2.
    allowed = tolerance(ROWS)
    return [
        Pair(torch.cat(got), shares, tolerance=(allowed / float(shares.max()), 0.0)),
        Pair(means[1], wanted[1], tolerance=(2 * allowed, 0.0)),
        Pair(means[0], wanted[0], tolerance=(2 * allowed, 0.0)),
    ]
