"""Sampling, checked by counting: how often each token is drawn from one row, very many times."""

from __future__ import annotations

import itertools
import re
from typing import Any

import torch

from kerneldefs.definition.execution.pairs import Definition, Pair, Run, Values

# Tokens of one row in no order; with no two equal, and no sum of the largest near a limit below.
ROW = (0.06, 0.30, 0.03, 0.15, 0.08, 0.22, 0.05, 0.11)
DRAWS = 20_000
# Five standard deviations of a share of 20,000 draws are below 0.018; a rule that drops or keeps a
# token wrongly changes a share by 0.03 or more.
SHARES = (0.02, 0.0)
LIMITS = {"top_k": 4, "top_p": 0.6, "min_p": 0.4}


def kept(limits: dict[str, float], order: str) -> list[int]:
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


def shares(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Compare how often tokens are drawn with their shares among the kept ones."""
    order = "joint" if re.search(r"_joint$", definition["name"]) else "first"
    limits = {name: limit for name, limit in LIMITS.items() if name in values}
    inputs: list[Any] = []
    for name, value in values.items():
        if name in ("probs", "logits"):
            row = torch.tensor(ROW) if name == "probs" else torch.tensor(ROW).log()
            inputs.append(row.repeat(DRAWS, 1).to(value.dtype))
        elif torch.is_tensor(value):
            inputs.append(torch.full([DRAWS], limits[name]).to(value.dtype))
        else:
            inputs.append(type(value)(limits[name]))
    drawn = torch.bincount(run(*inputs)[0].long(), minlength=len(ROW)) / DRAWS
    expected = torch.zeros(len(ROW))
    for token in kept(limits, order):
        expected[token] = ROW[token]
    return [Pair(drawn, expected / expected.sum(), tolerance=SHARES)]
