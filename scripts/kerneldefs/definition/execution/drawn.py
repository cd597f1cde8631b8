"""Sampling, checked by counting: how often each token is drawn from one row, very many times."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import torch

from kerneldefs.definition.execution.pairs import Definition, Pair, Run, Values

# Tokens of one row in no order; with no two equal, and no sum of the largest within 0.02 of a top-p
# limit below, among all tokens or among those that top-k keeps.
ROW = (0.12, 0.38, 0.10, 0.16, 0.24)
# A third of the rows of a call has the limits of the first case, and so on. Both filters as given
# ("joint") keep 1, 3 and 2 tokens; top-p of what top-k left ("first") keeps 1, 2 and 2; min-p keeps
# 1, 3 and 2. In at least one case the share of some token changes by 0.19 or more when a filter is
# dropped or off by one token, the order is the other one, or limits are read of other rows or one
# is taken for all rows: with one filter and with both, in either order.
CASES: tuple[Mapping[str, float], ...] = (
    {"top_k": 1, "top_p": 0.95, "min_p": 0.80},
    {"top_k": 3, "top_p": 0.73, "min_p": 0.37},
    {"top_k": 4, "top_p": 0.45, "min_p": 0.53},
)
DRAWS = 3_000  # of all cases together
# Added to logits, which changes no share unless they are taken as probabilities: all tokens would
# be nearly as likely, and a share change by 0.13 or more, as where probabilities are logits.
SHIFT = 8.0


def kept(limits: Mapping[str, float], order: str) -> list[int]:
    """Return the tokens of ROW that may be drawn.

    "joint": each filter looks at the row as given; "first": top-p looks at what top-k left, with
    its sum made one again.
    """
    tokens = sorted(range(len(ROW)), key=lambda token: -ROW[token])
    found = tokens[: int(limits.get("top_k", len(ROW)))]
    whole = sum(ROW[token] for token in found) if order == "first" else 1.0
    reached = [0.0, *itertools.accumulate(ROW[token] / whole for token in tokens)]
    found = [
        t for t, before in zip(found, reached, strict=False) if before < limits.get("top_p", 1)
    ]
    return [token for token in found if ROW[token] >= limits.get("min_p", 0) * max(ROW)]


def tolerance(draws: int) -> float:
    """Return five standard deviations of the share of a token that is drawn half of the time.

    0.08 for the rows of one case, less than half of what a mistake changes; 0.046 for all rows of a
    definition without limits, half of the smallest share.
    """
    return 5 * 0.5 / math.sqrt(draws)


def shares(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Compare how often tokens are drawn with their shares among the kept ones, in each case."""
    order = "joint" if definition["name"].endswith("_joint") else "first"
    names = [name for name in CASES[0] if name in values]
    cases = [{name: case[name] for name in names} for case in CASES] if names else [{}]
    rows = DRAWS // len(cases)
    if all(torch.is_tensor(values[name]) for name in names):
        drawn = run(*_inputs(values, cases, rows))[0].split(rows)
    else:  # a limit that is a number is one of all rows
        drawn = [run(*_inputs(values, [case], rows))[0] for case in cases]
    got = [torch.bincount(tokens.long(), minlength=len(ROW)) / rows for tokens in drawn]
    expected = torch.stack([_expected(kept(case, order)) for case in cases])
    # An absolute tolerance is one of outputs whose largest number is one.
    allowed = tolerance(rows) / float(expected.max())
    return [Pair(torch.stack(got), expected, tolerance=(allowed, 0.0))]


def _inputs(values: Values, cases: list[dict[str, float]], rows: int) -> list[Any]:
    """Return inputs of so many rows for each case."""
    inputs: list[Any] = []
    for name, value in values.items():
        if name in ("probs", "logits"):
            row = torch.tensor(ROW) if name == "probs" else torch.tensor(ROW).log() + SHIFT
            inputs.append(row.repeat(rows * len(cases), 1).to(value.dtype))
        elif torch.is_tensor(value):
            limits = torch.tensor([case[name] for case in cases]).repeat_interleave(rows)
            inputs.append(limits.to(value.dtype))
        else:
            inputs.append(type(value)(cases[0][name]))
    return inputs


def _expected(tokens: list[int]) -> Any:
    expected = torch.zeros(len(ROW))
    for token in tokens:
        expected[token] = ROW[token]
    return expected / expected.sum()
