"""Mixtures of experts one token and one expert at a time, of every format of weights."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import linear, silu

from kerneldefs.definition.execution.experts import Choice, renormalised
from kerneldefs.definition.execution.pairs import Definition, Pair, Run, Values
from kerneldefs.definition.execution.products import e2m1
from kerneldefs.definition.execution.quantized import E4M3, nearest

Matrix = Callable[[int], Any]


def _numbers(codes: Any, scales: Any) -> Any:
    """Return a matrix with a scale for each block of it, whatever the blocks' shape."""
    if codes.dtype in (torch.int8, torch.uint8):
        codes = e2m1(codes)
    numbers = codes.float()
    if scales is None:
        return numbers
    wide = scales.float()
    for dim in range(2):
        wide = wide.repeat_interleave(numbers.shape[dim] // wide.shape[dim], dim=dim)
    return numbers * wide


def _weights(values: Values, name: str) -> Matrix:
    scales = values.get(f"{name}_scale")
    if values[name].dim() == 4:  # blocks of columns, side by side
        return lambda e: torch.cat(list(values[name][e].float()), dim=-1)
    return lambda e: _numbers(values[name][e], None if scales is None else scales[e])


def _factor(values: Values, name: str, expert: int) -> float:
    found = values.get(f"{name}_scalar", values.get(name.replace("_scale", "_scales") + "_scalar"))
    return 1.0 if found is None else float(found[expert])


def _sum(values: Values, hidden: Any, choices: list[Choice]) -> list[Any]:
    """Return the output and where it is sure."""
    first, second = _weights(values, "gemm1_weights"), _weights(values, "gemm2_weights")
    offset = int(values["local_expert_offset"])
    output, sure = torch.zeros(hidden.shape), torch.ones(hidden.shape, dtype=torch.bool)
    for token, choice in enumerate(choices):
        sure[token] = choice.sure
        for expert, weight in choice.weights.items():
            local = expert - offset
            if not 0 <= local < len(values["gemm1_weights"]):
                continue
            up, gate = linear(hidden[token], first(local)).chunk(2)
            gate = silu(gate * _factor(values, "output1_scale_gate", local))
            inner = gate * up * _factor(values, "output1_scale", local)
            weight *= _factor(values, "output2_scale", local)
            output[token] += weight * linear(inner, second(local))
    return [output, sure]


def _unpacked(packed: int) -> tuple[int, float]:
    """Return an expert and its weight, whose bits are the upper half of a float's."""
    return packed >> 16, struct.unpack("<f", struct.pack("<I", (packed & 0xFFFF) << 16))[0]


def routed(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Experts and weights given in one number each."""
    scales = values.get("hidden_states_scale")
    if scales is not None and "fp8" in definition["name"]:
        scales = scales.T
    hidden = _numbers(values["hidden_states"], scales)
    rows = values["topk_ids"].tolist()
    choices = [Choice(dict(_unpacked(n) for n in row), sure=True) for row in rows]
    return [Pair(run(*values.values())[0], *_sum(values, hidden, choices))]


def softmaxed(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """The experts of the largest logits, weighed by a softmax over all of them."""
    k, choices = definition["axes"]["top_k"]["value"], []
    for row in values["routing_logits"].float().tolist():
        every = renormalised(row, len(row), 1.0).weights
        choices.append(Choice(dict(list(every.items())[:k]), renormalised(row, k, 1.0).sure))
    return [
        Pair(
            run(*values.values())[0],
            *_sum(values, values["hidden_states"].float(), choices),
        )
    ]


def summing_to_one(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """The experts of the largest logits, weighed by a softmax over these."""
    k = definition["axes"]["top_k"]["value"]
    choices = [renormalised(row, k, 1.0) for row in values["routing_logits"].float().tolist()]
    hidden = values["hidden_states"].float()
    return [Pair(run(*values.values())[0], *_sum(values, hidden, choices))]


def quantizing(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Hidden states through E4M3 in blocks of 128, gates first, weights that sum to one."""
    k = definition["axes"]["top_k"]["value"]
    gates, ups = values["expert_weights_up"].chunk(2, dim=1)
    scales = values["expert_scales_up"].chunk(2, dim=1)
    swapped = {
        "gemm1_weights": torch.cat([ups, gates], dim=1),
        "gemm1_weights_scale": torch.cat([scales[1], scales[0]], dim=1),
        "gemm2_weights": values["expert_weights_down"],
        "gemm2_weights_scale": values["expert_scales_down"],
        "local_expert_offset": 0,
    }
    hidden = torch.tensor([_rounded(row) for row in values["activations_in"].float().tolist()])
    choices = [renormalised(row, k, 1.0) for row in values["router_logits"].float().tolist()]
    return [Pair(run(*values.values())[0], *_sum(swapped, hidden, choices))]


def _rounded(row: list[float]) -> list[float]:
    """Numbers as E4M3 holds them, with a scale for each 128."""
    found = []
    for start in range(0, len(row), 128):
        block = row[start : start + 128]
        scale = max(map(abs, block)) / 448
        codes = [E4M3[nearest(abs(x) / scale, E4M3).place] * scale for x in block]
        found += [-c if x < 0 else c for c, x in zip(codes, block, strict=True)]
    return found
