"""Parity: what counts as the same, and how a difference is told."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from kerneldefs.capture.parity import compare
from kerneldefs.capture.record import KernelCall, TensorFact, write_calls
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import write_json

CALL = KernelCall(
    op="flashinfer.norm.rmsnorm", tensors={"x": TensorFact((4, 8), "bfloat16", (8, 1))},
    scalars={"eps": 1e-6}, outputs=(), plan=None, state={}, phase="decode", layer="model.norm",
    definition="rmsnorm_h8", template=None, marks=(),
)  # fmt: skip


def capture(folder: Path, *calls: KernelCall, eps: float = 1e-6, **summary: str) -> Path:
    (folder / "rank0" / "flashinfer").mkdir(parents=True)
    write_json(folder / "capture.json", {"status": "captured", **summary})
    write_calls(folder / "rank0" / "calls.jsonl", calls or (CALL,))
    write_json(folder / "rank0" / "flashinfer" / "rmsnorm_h8.json", {"axes": {"eps": eps}})
    return folder


def test_batch_sizes_and_counts_are_chance(tmp_path: Path):
    rows = {"x": TensorFact((99, 8), "bfloat16", (8, 1))}
    other = dataclasses.replace(CALL, tensors=rows, count=7)
    found = compare(capture(tmp_path / "a"), capture(tmp_path / "b", other))
    assert found.whole and found.same == 1 and found.same_calls == 1


def test_another_width_is_another_call(tmp_path: Path):
    wide = dataclasses.replace(CALL, tensors={"x": TensorFact((4, 16), "bfloat16", (16, 1))})
    found = compare(capture(tmp_path / "a"), capture(tmp_path / "b", wide))
    assert [text.split(":")[0] for text in found.differences] == [
        "call seen by the first only",
        "call seen by the second only",
    ]


def test_what_makes_a_workspace_is_no_kernel(tmp_path: Path):
    """SGLang asks FlashInfer for shared memory on a GPU; the simulation has none to ask for."""
    made = dataclasses.replace(CALL, op="flashinfer.comm.make", tensors={}, definition=None)
    assert compare(capture(tmp_path / "a", CALL, made), capture(tmp_path / "b")).whole


def test_another_content_is_shown(tmp_path: Path):
    found = compare(capture(tmp_path / "a"), capture(tmp_path / "b", eps=1e-5))
    assert found.differences == ("rmsnorm_h8: axes/eps: 1e-06 and 1e-05",)


def test_other_releases_are_named_first(tmp_path: Path):
    versions = [json.loads(f'{{"sglang": "{v}"}}') for v in ("1", "2")]
    one, other = (
        capture(tmp_path / v["sglang"], versions=v)  # type: ignore[arg-type]
        for v in versions
    )
    assert compare(one, other).differences == ("releases differ: sglang 1 and 2",)


def test_a_partial_capture_is_not_compared(tmp_path: Path):
    one, other = capture(tmp_path / "a"), capture(tmp_path / "b")
    write_json(other / "capture.json", {"status": "partial"})
    with pytest.raises(KerneldefsError, match="status is 'partial'"):
        compare(one, other)
