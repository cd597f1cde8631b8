"""How often a reference runs, and what is compared to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kerneldefs.definition.execution import child, judge, verify
from kerneldefs.definition.execution.pairs import Pair
from kerneldefs.definition.execution.sizes import BUDGET

from .families import gemm, norm, sampled
from .make import body, definition


@pytest.mark.parametrize(
    ("case", "runs"),
    [
        (norm("fused_add_rmsnorm_h64", residual=True), 2),
        (gemm(), 2),
        (sampled("sampling_from_probs_v500", "sampling_from_probs"), 3),  # by other inputs
    ],
    ids=lambda case: case if isinstance(case, int) else case["name"],
)
def test_no_reference_runs_a_third_time_on_the_same_inputs(
    case: Any, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    loaded = child.loaded

    def counted(text: str) -> Any:
        run = loaded(text)
        return lambda *values: (calls.append(1), run(*values))[1]

    monkeypatch.setattr(child, "loaded", counted)
    verdict = child.examine(case, BUDGET)
    assert verdict["passed"] and verdict["agreement"]["agrees"], verdict
    assert len(calls) == runs


def test_what_the_first_run_gave_is_compared() -> None:
    verdict = child.examine(gemm(t=""), BUDGET)
    assert (verdict["kind"], verdict["passed"]) == ("disagrees", False), verdict


def test_inputs_that_only_the_second_run_changes_are_found() -> None:
    lines = ("CALLS.append(1)", "if len(CALLS) == 2: x[-1, -1] += 1", "return torch.ones(4, 8)")
    verdict = child.examine(definition("CALLS = []\n" + body(*lines)), BUDGET)
    assert (verdict["kind"], verdict["passed"]) == ("mutated", False), verdict


@pytest.mark.parametrize("dtype", [torch.int8, torch.bfloat16, torch.float32, torch.int64])
@pytest.mark.parametrize("count", [1, 7, 8, 64, 65])
def test_one_bit_is_a_difference_wherever_it_is(dtype: torch.dtype, count: int) -> None:
    one = torch.ones(count, dtype=dtype)
    assert judge.same(one, one.clone())
    for place in {0, count // 2, count - 1}:
        other = one.clone()
        other.view(torch.uint8)[place * one.element_size()] ^= 1
        assert not judge.same(one, other)
        assert not judge.same(other, one)


def test_parts_of_tensors_are_compared_where_they_start() -> None:
    whole = torch.arange(40, dtype=torch.int8)
    assert judge.same(whole[3:19], whole[3:19].clone())
    assert not judge.same(whole[3:19], whole[4:20])
    assert not judge.same(whole[3:19], whole[3:19].reshape(4, 4))
    nan = torch.full((8,), float("nan"))
    assert judge.same(nan, nan.clone())
    assert not judge.same(torch.zeros(8), -torch.zeros(8))


@pytest.mark.parametrize(
    ("got", "expected", "agrees"),
    [
        (torch.ones(3, 2), torch.ones(3, 2), True),
        (torch.ones(3, 2), torch.ones(3, 2).double(), True),
        (torch.ones(3, 2).to(torch.float8_e4m3fn), torch.ones(3, 2), True),
        (torch.ones(3, 2), torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0 + 1e-6]]), False),
        (torch.full((2,), float("nan")), torch.full((2,), float("nan")), False),
    ],
)
def test_what_must_be_equal_is_compared_as_anything_else(
    got: Any, expected: Any, agrees: bool
) -> None:
    found = verify._compared({"dtype": "float32"}, Pair(got, expected, tolerance=(0.0, 0.0)))
    assert found["agrees"] is agrees
    assert (found["largest"] == 0.0) is agrees
