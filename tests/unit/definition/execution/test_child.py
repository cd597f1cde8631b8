"""One reference in this process: which inputs it gets."""

from __future__ import annotations

from typing import Any

import pytest
from kerneldefs.definition.execution import child

from .make import definition

INPUTS: Any = {"x": (["N", "K"], "float32")}
OUTPUTS: Any = {"y": (["N"], "float32")}


def examined(line: str) -> dict[str, Any]:
    """Examine a reference of 512 rows, which take twice the memory that inputs get at first."""
    sizes = {"N": 512, "K": 8}
    reference = f"import torch\n\ndef run(x):\n    {line}\n    return x.sum(-1)\n"
    return child.examine(definition(reference, INPUTS, OUTPUTS, consts=sizes), 1 << 20)


@pytest.fixture(autouse=True)
def first_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "FIRST_BUDGET", 512 * 8 * 4 // 2 + 4096)


def test_large_inputs_are_cut_at_first() -> None:
    verdict = examined("assert x.shape[0] < 512")
    assert verdict["passed"] and verdict["scaled"] == ["N 512 -> 256"]


def test_what_fails_on_cut_inputs_gets_whole_ones() -> None:
    verdict = examined("assert x.shape[0] == 512")
    assert verdict["passed"] and verdict["scaled"] == []


def test_what_fails_on_both_is_told_of_whole_ones() -> None:
    verdict = examined("assert x.shape[0] < 0, x.shape[0]")
    assert (verdict["passed"], verdict["kind"]) == (False, "error")
    assert "512" in verdict["reason"]
