"""What an entry asks for and does not get is told: it is dropped, or settled with a note."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.expand import ModelPlan

from .make import MOE, entry, ids, plans, reasons


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ({"dp": 8, "enable_dp_attention": True, "tp": 4}, "dp 8 does not divide tp 4, as DP att"),
        ({"ep": 16}, "ep 16 is larger than tp 8"),
        ({"ep": 3}, "ep 3 does not divide tp 8"),
        ({"ep": 8, "tp": 24}, "ep 8 does not divide the 60 experts"),
        (
            {"ep": 8, "tp": 24, "extra_args": ["--ep-num-redundant-experts", "2"]},
            "ep 8 does not divide the 62 experts",
        ),
        ({"quantized_model_path": "o/q"}, "serves another checkpoint; ask for it by model=o/q"),
    ],
)
def test_entries_that_cannot_run_are_dropped(
    plan: Callable[..., ModelPlan], engine: dict[str, Any], reason: str
) -> None:
    hardware = {"H200": [entry("good"), entry("bad", **engine)]}
    found = plan(hardware, MOE | {"num_experts": 60}, attention_backends="auto")
    assert ids(found) == ["h200-tp8-bf16-auto"]
    ((where, name, why),) = reasons(found)
    assert (where, name) == ("H200", "bad")
    assert why.startswith(reason)


def test_redundant_experts_are_split_too(plan: Callable[..., ModelPlan]) -> None:
    one = entry(ep=8, extra_args=["--ep-num-redundant-experts", "4"])
    assert len(plan({"H200": [one]}, MOE | {"num_experts": 60}).configs) == 2


@pytest.mark.parametrize(
    ("engine", "config", "note", "sizes"),
    [
        (
            {"enable_dp_attention": True},
            MOE,
            "DP attention left off: SGLang turns it off at dp 1",
            (8, 1, 1, False),
        ),
        (
            {"dp": 2},
            MOE,
            "dp 2 without DP attention makes equal replicas: one is captured",
            (8, 1, 1, False),
        ),
        (
            {"ep": 8},
            {"torch_dtype": "bfloat16"},
            "ep 8 left out: the model has no experts",
            (8, 1, 1, False),
        ),
        (
            {"ep": 8},
            {"torch_dtype": "bfloat16", "expert_share": 3},
            "config.json names no number of experts, so ep was not checked against it",
            (8, 1, 8, False),
        ),
        (
            {"quantization": "fp8"},
            MOE,
            "the cookbook's label says fp8, config.json says none, which counts",
            (8, 1, 1, False),
        ),
        (
            {},
            {"num_experts": 8},
            "config.json names no data type, so SGLang chooses (float16 for most models)",
            (8, 1, 1, False),
        ),
    ],
)
def test_what_is_settled_is_noted(
    plan: Callable[..., ModelPlan],
    engine: dict[str, Any],
    config: dict[str, Any],
    note: str,
    sizes: tuple[int, int, int, bool],
) -> None:
    (one,) = plan({"H200": [entry(**engine)]}, config, attention_backends="auto").configs
    assert one.notes == (note,)
    assert (one.tp, one.dp, one.ep, one.enable_dp_attention) == sizes


def test_a_label_that_agrees_is_not_noted(plan: Callable[..., ModelPlan]) -> None:
    config = MOE | {"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}
    found = plan({"B200": [entry(quantization="fp4")]}, config)
    assert [one.notes for one in found.configs] == [(), ()]


def test_hardware_filters_and_says_so(plan: Callable[..., ModelPlan]) -> None:
    hardware = {"H200": [entry()], "MI300X": [entry()], "B200": [entry()]}
    found = plan(hardware, hardware="h200", attention_backends="auto")
    assert ids(found) == ["h200-tp8-bf16-auto"]
    assert sorted(reasons(found)) == [
        ("B200", "default", "hardware B200 is not asked for"),
        ("MI300X", "default", "hardware MI300X is not asked for"),
    ]
    amd = "MI300X is AMD hardware; FlashInfer's kernels are CUDA's"
    assert reasons(plan(hardware)) == [("MI300X", "default", amd)]


def test_hardware_that_is_not_known_is_named() -> None:
    with pytest.raises(KerneldefsError, match="hardware H201 is not known; nearest: H20, H200"):
        plans(hardware="H201")


def test_one_model_with_nothing_left_is_an_error(plan: Callable[..., ModelPlan]) -> None:
    message = (
        r"m: ep 3 does not divide tp 8 \(H200 default\); MI300X is AMD hardware.* \(MI300X def"
    )
    with pytest.raises(KerneldefsError, match=message):
        plan({"H200": [entry(ep=3)], "MI300X": [entry()]})
