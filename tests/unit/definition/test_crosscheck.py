"""Const axes held against the call and against the model: agreement, and each way to disagree."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from kerneldefs.definition import crosscheck
from kerneldefs.definition.draft import Draft, Quarantine, const_axes
from kerneldefs.definition.normalise import normalise
from kerneldefs.serving.expected import expected
from kerneldefs.serving.modelconfig import read_model_config
from kerneldefs.serving.ranksizes import RankSizes
from kerneldefs.serving.select import BUNDLED

from .conftest import Dump
from .test_normalise import write_capture
from .test_words import CONFIG

Dumps = Callable[[str], Dump]


def kimi(tp: int = 8, dp: int = 1, ep: int = 4) -> RankSizes:
    """What Kimi-K2's config.json predicts of a rank."""
    model = read_model_config(BUNDLED / "kimi-k2", "", "bundled")
    served = dataclasses.replace(CONFIG, tp=tp, dp=dp, ep=ep, enable_dp_attention=dp > 1)
    return expected(model, served)


def with_axis(definition: Draft, axis: str, value: int) -> Draft:
    changed = copy.deepcopy(definition)
    changed["axes"][axis]["value"] = value
    return changed


CASES = [
    "rmsnorm",
    "MLA decode",
    "MLA prefill",
    "moe DeepSeek routing",
    "paged decode",
    "trtllm decode",
]


@pytest.mark.parametrize("case", CASES)
def test_every_axis_of_a_true_definition_is_seen(dumps: Dumps, case: str) -> None:
    dump = dumps(case)
    repaired = dump.repaired()
    seen = crosscheck.observed(repaired.definition, dump.call, repaired.evidence)
    sizes = const_axes(repaired.definition)
    assert all(set(seen[axis].values()) == {sizes[axis]} for axis in sizes)


@pytest.mark.parametrize("case", CASES)
def test_no_axis_can_change_unseen(dumps: Dumps, case: str) -> None:
    dump = dumps(case)
    repaired = dump.repaired()
    crosscheck.require(repaired.definition, dump.call, repaired.evidence)
    for axis, value in const_axes(repaired.definition).items():
        changed = with_axis(repaired.definition, axis, value * 2)
        with pytest.raises(Quarantine, match=f"axis {axis} is {value * 2}; .*{value} \\("):
            crosscheck.require(changed, dump.call, repaired.evidence)


def test_a_prediction_that_differs_is_named_with_what_was_seen(dumps: Dumps) -> None:
    dump = dumps("MLA decode")
    repaired = dump.repaired()
    crosscheck.require(repaired.definition, dump.call, repaired.evidence, kimi())
    with pytest.raises(Quarantine) as raised:
        crosscheck.require(repaired.definition, dump.call, repaired.evidence, kimi(dp=4))
    assert raised.value.cause == "axis-predicted"
    assert "8 (plan num_heads)" in raised.value.reason
    assert "predict 32 as qo_heads" in raised.value.reason


def test_experts_of_another_split_are_found(dumps: Dumps) -> None:
    dump = dumps("moe DeepSeek routing")
    repaired = dump.repaired()
    crosscheck.require(repaired.definition, dump.call, repaired.evidence, kimi(ep=4))
    with pytest.raises(Quarantine, match=r"num_local_experts is 96; .*predict 48 or 49"):
        crosscheck.require(repaired.definition, dump.call, repaired.evidence, kimi(ep=8))


def test_an_axis_that_nothing_shows_is_not_believed(dumps: Dumps) -> None:
    dump = dumps("rmsnorm")
    definition = copy.deepcopy(dump.repaired().definition)
    definition["axes"]["blocks"] = {"type": "const", "value": 4}
    with pytest.raises(Quarantine, match=r"nothing in the call of .* shows blocks"):
        crosscheck.require(definition, dump.call)


def test_normalising_quarantines_what_the_model_contradicts(dumps: Dumps, tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "capture", map(dumps, ("rmsnorm", "MLA decode")))
    result = normalise(CONFIG, capture, predicted=kimi(dp=4))
    assert [item.name for item in result.candidates] == ["rmsnorm_h7168"]
    assert [item.cause for item in result.quarantined] == ["axis-predicted"]
