"""Routing and block-scaled mixtures of experts, one token and one expert at a time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import linear, silu

from kerneldefs.definition.execution.pairs import Definition, Pair, Run, Values


@dataclasses.dataclass(frozen=True)
class Choice:
    """A token's experts with their weights, best first; `sure` unless two scores were equal."""

    weights: Mapping[int, float]
    sure: bool


def deepseek(
    logits: list[float], bias: list[float], groups: int, kept: int, k: int, scale: float
) -> Choice:
    """DeepSeek-V3's routing (arXiv 2412.19437, section 2.1.2).

    Scores are sigmoids. Choosing looks at score + bias: the groups with the largest sums of two,
    then the k best experts within them. Weights are the scores, made to sum to `scale`.
    """
    scores = [1 / (1 + math.exp(-logit)) for logit in logits]
    biased = [score + offset for score, offset in zip(scores, bias, strict=True)]
    size = len(scores) // groups
    group = [sum(sorted(biased[i * size : (i + 1) * size])[-2:]) for i in range(groups)]
    open_groups = sorted(range(groups), key=lambda i: -group[i])[:kept]
    candidates = [e for e in range(len(scores)) if e // size in open_groups]
    order = sorted(candidates, key=lambda e: -biased[e])
    chosen = order[:k]
    whole = sum(scores[e] for e in chosen)
    sure = len(order) == k or biased[order[k - 1]] - biased[order[k]] > 1e-6
    return Choice({e: scores[e] / whole * scale for e in chosen}, sure)


def renormalised(logits: list[float], k: int, scale: float) -> Choice:
    """The k largest logits, and a softmax over them (Mixtral's and Qwen3's routing)."""
    order = sorted(range(len(logits)), key=lambda e: -logits[e])
    powers = {e: math.exp(logits[e] - logits[order[0]]) for e in order[:k]}
    whole = sum(powers.values())
    sure = len(order) == k or logits[order[k - 1]] > logits[order[k]]
    return Choice({e: power / whole * scale for e, power in powers.items()}, sure)


def deepseek_topk(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """DeepSeek's routing alone: weights and experts, best first."""
    k = definition["axes"]["topk"]["value"]
    numbers = (values["n_group"], values["topk_group"], k, values["routed_scaling_factor"])
    bias = values["bias"].tolist()
    choices = [deepseek(row, bias, *numbers) for row in values["scores"].tolist()]
    weights = torch.tensor([list(choice.weights.values()) for choice in choices])
    experts = torch.tensor([list(choice.weights) for choice in choices])
    got = run(*values.values())
    return [Pair(got[0], weights), Pair(got[1], experts)]


def block_scaled(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Experts with a scale for each block of weights and of each token's hidden state.

    The first product gives [up, gate] (FlashInfer's trtllm_*_moe kernels; their loaders swap the
    halves of a checkpoint's [gate, up]): an expert is down(silu(gate) * up).
    """
    hidden, first, second = (_scaled(values, name) for name in ("hidden", "gemm1", "gemm2"))
    offset = int(values["local_expert_offset"])
    expected, sure = [], []
    for token, choice in enumerate(_choices(definition, values)):
        result = torch.zeros(hidden(token).shape[-1])
        for expert, weight in choice.weights.items():
            if 0 <= expert - offset < len(values["gemm1_weights"]):
                up, gate = linear(hidden(token), first(expert - offset)).chunk(2)
                result += weight * linear(silu(gate) * up, second(expert - offset))
        expected.append(result)
        sure.append(torch.full(result.shape, choice.sure))
    return [Pair(run(*values.values())[0], torch.stack(expected), torch.stack(sure))]


def _choices(definition: Definition, values: Values) -> list[Choice]:
    sizes = {name: axis.get("value") for name, axis in definition["axes"].items()}
    scale, rows = values["routed_scaling_factor"], values["routing_logits"].float().tolist()
    if "ds_routing" in definition["name"]:
        numbers = (sizes["n_group"], sizes["topk_group"], sizes["top_k"], scale)
        return [deepseek(row, values["routing_bias"].tolist(), *numbers) for row in rows]
    return [renormalised(row, sizes["top_k"], scale) for row in rows]


def _scaled(values: Values, name: str) -> Any:
    """Return a function from an index to that token's or expert's numbers, scales applied."""
    if name == "hidden":
        codes, scales = values["hidden_states"], values["hidden_states_scale"].T
    else:
        codes, scales = values[f"{name}_weights"], values[f"{name}_weights_scale"]

    def of(index: int) -> Any:
        number, scale = codes[index].float(), scales[index]
        for dim in range(number.dim()):
            scale = scale.repeat_interleave(number.shape[dim] // scale.shape[dim], dim=dim)
        return number * scale

    return of
