"""Mixtures of experts of every format and routing, in float64, one token and one expert at a time.

Numbers come of tables and of powers of two, choices of plain floats; nothing is shared with
references. Formats: Open Compute Project, Microscaling Formats (MX), version 1.0, section 5, and
NVIDIA's NVFP4, whose scales are E4M3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch

from kerneldefs.definition.execution.experts import Choice, deepseek
from kerneldefs.definition.execution.pairs import Definition, Pair, Run, Values
from kerneldefs.definition.execution.products import e2m1

_ROUTING = re.compile(
    r"_(default|renormalize|renormalize_naive|ds|topk|sigmoid\w*|minimax2)_routing_"
)
_APART = 1e-6  # scores that are nearer may be ordered either way
_BYTES = (torch.int8, torch.uint8)


def _numbers(codes: Any, scales: Any) -> Any:
    """Return a matrix's numbers; a scale is of a block of columns."""
    numbers = e2m1(codes) if codes.dtype in _BYTES else codes.double()
    if scales is None:
        return numbers
    if scales.dtype in _BYTES:
        one = torch.ones(scales.shape, dtype=torch.float64)
        factors = torch.ldexp(one, scales.view(torch.uint8).int() - 127)
    else:
        factors = scales.double()
    blocks = numbers.unflatten(-1, (factors.shape[-1], -1))
    return (blocks * factors[..., None]).flatten(-2)


def _softmax(logits: list[float]) -> list[float]:
    largest = max(logits)
    powers = [math.exp(x - largest) for x in logits]
    return [power / math.fsum(powers) for power in powers]


def _share(scores: list[float]) -> list[float]:
    return [score / math.fsum(scores) for score in scores]


def _sigmoid(logits: list[float]) -> list[float]:
    return [1 / (1 + math.exp(-x)) for x in logits]


# Routing -> scores of all experts, and the weights of the chosen ones' scores.
_Numbers = Callable[[list[float]], list[float]]
_METHODS: dict[str, tuple[_Numbers, _Numbers]] = {
    "default": (_softmax, list),
    "renormalize": (list, _softmax),
    "renormalize_naive": (_softmax, _share),
    "topk": (list, list),
    "sigmoid": (_sigmoid, list),
    "sigmoid_renorm": (_sigmoid, _share),
    "minimax2": (_sigmoid, _share),
}


def _choice(definition: Definition, logits: list[float], bias: list[float], scale: float) -> Choice:
    """Return a token's experts; the bias chooses and weighs nothing."""
    found = _ROUTING.search(definition["name"])
    assert found is not None, definition["name"]
    axes = definition["axes"]
    k = axes["top_k"]["value"]
    if found[1] == "ds":
        groups, kept = (axes.get(name, {"value": 1})["value"] for name in ("n_group", "topk_group"))
        return deepseek(logits, bias, groups, kept, k, scale)
    score, weigh = _METHODS[found[1]]
    scores = score(logits)
    ranked = [one + other for one, other in zip(scores, bias, strict=True)]
    order = sorted(range(len(ranked)), key=lambda e: -ranked[e])
    weights = weigh([scores[e] for e in order[:k]])
    sure = len(order) == k or ranked[order[k - 1]] - ranked[order[k]] > _APART
    return Choice({e: w * scale for e, w in zip(order[:k], weights, strict=True)}, sure)


class _Expert:
    """One expert of a rank, by what a definition has of it; its weights are decoded once."""

    def __init__(self, values: Values, index: int, activation: str) -> None:
        self._values, self._index, self._activation = values, index, activation
        self._first, self._second = self._weight("gemm1"), self._weight("gemm2")

    def __call__(self, token: Any) -> Any:
        """Return the second product of a token, in float64."""
        inner = self._activated(torch.mv(self._first, token) + self._of("gemm1_bias", 0.0))
        found = torch.mv(self._second, inner) * self._of("output2_scale_scalar", 1.0)
        return found + self._of("gemm2_bias", 0.0)

    def _weight(self, name: str) -> Any:
        scales = self._values.get(f"{name}_weights_scale")
        codes = self._values[f"{name}_weights"][self._index]
        return _numbers(codes, None if scales is None else scales[self._index])

    def _of(self, name: str, default: float) -> Any:
        given = self._values.get(name)
        return torch.tensor(default).double() if given is None else given[self._index].double()

    def _activated(self, rows: Any) -> Any:
        width = self._second.shape[1]
        if rows.shape[0] == width:
            return _UNGATED[self._activation](rows)
        limit = self._of("gemm1_clamp_limit", math.inf)
        up = torch.minimum(torch.maximum(rows[:width], -limit), limit)
        gate = torch.minimum(rows[width:], limit) * self._of("output1_scale_gate_scalar", 1.0)
        gate = gate / (1 + torch.exp(-gate * self._of("gemm1_alpha", 1.0)))
        up = up + self._of("gemm1_beta", 0.0)
        return up * gate * self._of("output1_scale_scalar", 1.0)


_UNGATED = {
    "relu2": lambda rows: torch.where(rows > 0, rows * rows, 0.0),
    "silu": lambda rows: rows / (1 + torch.exp(-rows)),
}


def mixture(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """The weighted sum of a rank's experts for each token."""
    text = definition["reference"]
    told = re.search(r"^SCALING = ([\d.e-]+)", text, re.MULTILINE)
    scale = float(values.get("routed_scaling_factor", told[1] if told else 1.0))
    activation = "relu2" if "ACTIVATION = 'relu2'" in text else "silu"
    rows = values["routing_logits"].double().tolist()
    bias = values["routing_bias"].double().tolist() if "routing_bias" in values else None
    choices = [_choice(definition, row, bias or [0.0] * len(row), scale) for row in rows]
    hidden = _numbers(values["hidden_states"], values.get("hidden_states_scale"))
    output, first = torch.zeros_like(hidden), int(values.get("local_expert_offset", 0))
    for index in range(len(values["gemm1_weights"])):
        chosen = [i for i, choice in enumerate(choices) if first + index in choice.weights]
        if not chosen:
            continue
        expert = _Expert(values, index, activation)
        for token in chosen:
            output[token] += choices[token].weights[first + index] * expert(hidden[token])
    (got,) = run(*values.values())
    expected = output[:, : got.shape[1]]
    sure = torch.tensor([choice.sure for choice in choices])
    return [Pair(got, expected, sure[:, None].expand(expected.shape))]
