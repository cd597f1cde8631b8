"""Counting draws tells a true sampler from each that takes another token, filter, order or row."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from kerneldefs.definition.execution import drawn
from kerneldefs.definition.execution.inputs import generate
from kerneldefs.definition.execution.known import row_of
from kerneldefs.definition.execution.verify import agreement

from .families import sampled

DTYPES = {"top_k": "int32", "top_p": "float32", "min_p": "float32"}
NAMES = {
    "sampling_from_probs": (),
    "sampling_from_logits": (),
    "top_k_sampling": ("top_k",),
    "top_p_sampling": ("top_p",),
    "min_p_sampling": ("min_p",),
    "top_k_top_p_sampling": ("top_k", "top_p"),
    "top_k_top_p_sampling_from_logits": ("top_k", "top_p"),
    "top_k_top_p_joint_sampling": ("top_k", "top_p"),
}
Limits = dict[str, Any]  # a number for each row


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Draws a token of each row; what is not as it should be is told apart."""

    order: str = "first"
    of_logits: bool = False
    reads: Callable[[Any, str], Any] = lambda limit, name: limit
    top_k: int = 0  # tokens too many
    top_p: int = 0
    min_p: int = 0

    def __call__(self, given: Any, limits: Limits) -> Any:
        """Return tokens [rows] of probabilities or logits [rows, vocabulary]."""
        probs = torch.softmax(given.float(), -1) if self.of_logits else given.float()
        values, tokens = probs.sort(dim=-1, descending=True)
        limits = {name: self.reads(limit, name)[:, None] for name, limit in limits.items()}
        rank = torch.arange(values.shape[1])
        kept = (
            rank < (limits["top_k"] + self.top_k).clamp(min=1) if "top_k" in limits else rank > -1
        )
        seen = values * kept if self.order == "first" else values
        seen = seen / seen.sum(-1, keepdim=True)
        if "top_p" in limits:
            below = (seen.cumsum(-1) - seen < limits["top_p"]).sum(-1, keepdim=True)
            kept = kept & (rank < (below + self.top_p).clamp(min=1))
        if "min_p" in limits:
            above = (values >= limits["min_p"] * values[:, :1]).sum(-1, keepdim=True)
            kept = kept & (rank < (above + self.min_p).clamp(min=1))
        return tokens.gather(-1, torch.multinomial(values * kept, 1)).squeeze(-1).int()


def case(which: str, scalar: bool = False) -> Any:
    """Return a definition that samples; its limits are one of each row or one of all."""
    name = f"{which}_v500" if "joint" not in which else "top_k_top_p_sampling_v500_joint"
    found = sampled(name, "sampling_from_probs", **{n: DTYPES[n] for n in NAMES[which]})
    if "logits" in which:
        found["inputs"] = {"logits": found["inputs"].pop("probs"), **found["inputs"]}
    if scalar:
        for limit in NAMES[which]:
            found["inputs"][limit]["shape"] = None
    return found


def compared(which: str, sampler: Sampler, scalar: bool = False) -> dict[str, Any]:
    """Compare a sampler in the place of a definition's reference."""

    def run(given: Any, *limits: Any) -> list[Any]:
        torch.manual_seed(0)
        rows = (x if torch.is_tensor(x) else torch.full([len(given)], x) for x in limits)
        return [sampler(given, dict(zip(NAMES[which], rows, strict=True)))]

    definition = case(which, scalar)
    assert row_of(definition) is not None, definition["name"]
    found = agreement(definition, generate(definition).values, run)
    assert found is not None
    return found


def true(which: str) -> Sampler:
    return Sampler("joint" if "joint" in which else "first", "logits" in which)


def without(dropped: str) -> Callable[[Any, str], Any]:
    """Read a limit as one that keeps all tokens."""
    everything = {"top_k": 500, "top_p": 1.0, "min_p": 0.0}
    return lambda limit, name: (
        torch.full_like(limit, everything[name]) if name == dropped else limit
    )


def elsewhere(names: tuple[str, ...], how: str) -> Callable[[Any, str], Any]:
    """Read some limits of other rows, or one of all rows."""
    reads: dict[str, Callable[[Any], Any]] = {
        "the first row's": lambda limit: limit[:1].expand_as(limit),
        "the middle row's": lambda limit: limit[[len(limit) // 2]].expand_as(limit),
        "the last row's": lambda limit: limit[-1:].expand_as(limit),
        "the least": lambda limit: limit.min().expand_as(limit),
        "the largest": lambda limit: limit.max().expand_as(limit),
        "the mean": lambda limit: limit.float().mean().to(limit.dtype).expand_as(limit),
        "in the other direction": lambda limit: limit.flip(0),
        "of the case before": lambda limit: limit.roll(len(limit) // 3),
        "of the case behind": lambda limit: limit.roll(-len(limit) // 3),
    }
    return lambda limit, name: reads[how](limit) if name in names else limit


HOW = (
    *("the first row's", "the middle row's", "the last row's", "the least", "the largest"),
    *("the mean", "in the other direction", "of the case before", "of the case behind"),
)


def mistakes() -> dict[str, tuple[str, Sampler]]:
    """Return wrong samplers by what is wrong with them, with the definition they are wrong for."""
    found: dict[str, tuple[str, Sampler]] = {}
    for which, names in NAMES.items():
        right = true(which)
        other = "first" if right.order == "joint" else "joint"
        if len(names) == 2:
            found[f"{which}: {other}"] = which, dataclasses.replace(right, order=other)
        for name, more in itertools.product(names, (-1, 1)):
            wrong = dataclasses.replace(right, **{name: more})
            found[f"{which}: {name} {more:+}"] = which, wrong
        for name in names:
            wrong = dataclasses.replace(right, reads=without(name))
            found[f"{which}: no {name}"] = which, wrong
        several = [(name,) for name in names] + ([names] if len(names) > 1 else [])
        for some, how in itertools.product(several, HOW):
            wrong = dataclasses.replace(right, reads=elsewhere(some, how))
            found[f"{which}: {' and '.join(some)} {how}"] = which, wrong
        wrong = dataclasses.replace(right, of_logits=not right.of_logits)
        found[f"{which}: probabilities and logits mistaken"] = which, wrong
    return found


MISTAKES = mistakes()


@pytest.mark.parametrize("scalar", [False, True], ids=["limits of rows", "limits of all"])
@pytest.mark.parametrize("which", NAMES)
def test_a_true_sampler_agrees(which: str, scalar: bool) -> None:
    found = compared(which, true(which), scalar)
    assert found["agrees"], found
    assert found["against"] == f"shares of {drawn.DRAWS} draws"


@pytest.mark.parametrize("what", MISTAKES)
def test_a_wrong_one_does_not(what: str) -> None:
    found = compared(*MISTAKES[what])
    (output,) = found["outputs"].values()
    assert not found["agrees"]
    assert output["largest"] > (1.1 if "mistaken" in what else 2) * output["atol"]


OF_ONE_ROW = [what for what in MISTAKES if re.search(r": (first|joint|no .*|.* [+-]1)$", what)]


@pytest.mark.parametrize("what", OF_ONE_ROW)
def test_limits_that_are_numbers_are_tried_one_after_the_other(what: str) -> None:
    which, wrong = MISTAKES[what]
    assert not compared(which, wrong, scalar=True)["agrees"]


def test_a_token_of_the_row_that_is_never_drawn_is_missed() -> None:
    def run(probs: Any) -> list[Any]:
        probs = probs.masked_fill(probs == probs.min(), 0.0)
        return [torch.multinomial(probs, 1).squeeze(-1).int()]

    definition = case("sampling_from_probs")
    found = agreement(definition, generate(definition).values, run)
    assert found is not None and not found["agrees"]


def test_no_limit_is_near_a_sum_that_it_is_compared_with() -> None:
    sizes = sorted(drawn.ROW, reverse=True)
    sums = {
        reached / sum(sizes[:left])
        for left in (*range(1, len(sizes)), len(sizes))
        for reached in itertools.accumulate(sizes[:left])
    }
    assert min(abs(case["top_p"] - reached) for case in drawn.CASES for reached in sums) > 0.02
    assert len(set(sizes)) == len(sizes)


@pytest.mark.parametrize("which", NAMES)
def test_five_standard_deviations_are_allowed_and_no_more(which: str) -> None:
    (output,) = compared(which, true(which))["outputs"].values()
    rows = drawn.DRAWS // (len(drawn.CASES) if NAMES[which] else 1)
    assert output["atol"] == pytest.approx(5 * 0.5 / rows**0.5)
    assert output["rtol"] == 0.0
