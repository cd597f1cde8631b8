"""Counting speculated tokens tells a true chain of drafts from one that keeps another share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kerneldefs.definition.execution import recurrent
from kerneldefs.definition.execution.verify import agreement

DEFINITION = {
    "name": "chain_speculative_sampling_v4",
    "inputs": {
        "draft_probs": {"dtype": "float32"},
        "draft_token_ids": {"dtype": "int32"},
        "target_probs": {"dtype": "float32"},
    },
    "outputs": {name: {"dtype": "int32"} for name in ("output_token_ids", "accepted", "emitted")},
}


def speculated(draft: Any, ids: Any, target: Any, *, takes: float = 1.0, rest: str = "") -> Any:
    """Accept each drafted token as often as the target allows; draw the first that is not.

    [rows, 2, vocabulary], [rows, 2], [rows, 3, vocabulary] -> tokens [rows, 3], -1 behind the last
    one, and how many are accepted by themselves and in a row.
    """
    chosen = ids.long()[..., None]
    wanted, drafted = (p[:, :2].gather(2, chosen)[..., 0] for p in (target, draft))
    accepts = torch.rand(ids.shape) < takes * wanted / drafted
    emitted = accepts.long().cumprod(1).sum(1)
    left = target.clone()
    if rest != "of the target":
        left[:, :2] = (target[:, :2] - draft).clamp(min=0) + 1e-9
    drawn = torch.multinomial(left.flatten(0, 1), 1).view(-1, 3)
    place = torch.arange(3)
    tokens = torch.cat([ids, ids[:, :1]], dim=1).long()
    tokens = torch.where(place == emitted[:, None], drawn, tokens)
    tokens = torch.where(place > emitted[:, None], -1, tokens)
    return [tokens.int(), accepts.sum(1).int(), emitted.int()]


def agrees(seed: int, **wrong: Any) -> bool:
    def run(*values: Any) -> Any:
        torch.manual_seed(seed)
        return speculated(*values, **wrong)

    torch.manual_seed(0)
    found = agreement(DEFINITION, dict.fromkeys(DEFINITION["inputs"]), run)
    assert found is not None and found["against"] == f"shares of {recurrent.ROWS} rows"
    return bool(found["agrees"])


@pytest.mark.parametrize("seed", range(10))
def test_a_true_chain_agrees_whatever_it_draws(seed: int) -> None:
    assert agrees(seed)


@pytest.mark.parametrize(
    "wrong", [{"takes": 0.9}, {"takes": 1.1}, {"rest": "of the target"}], ids=str
)
def test_another_chain_does_not(wrong: dict[str, Any]) -> None:
    assert not agrees(0, **wrong)
