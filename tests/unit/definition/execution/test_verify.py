"""Independent implementations agree with true references and with nothing else."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from typing import Any

import pytest
import torch
from kerneldefs.definition import templates
from kerneldefs.definition.execution import independent, quantized, verify
from kerneldefs.definition.execution.child import loaded
from kerneldefs.definition.execution.inputs import generate
from kerneldefs.definition.execution.known import ROWS, row_of
from kerneldefs.definition.execution.pairs import Pair
from kerneldefs.definition.execution.verify import TOLERANCES, agreement
from kerneldefs.definition.own import REFERENCES, OwnTemplate, reference
from kerneldefs.definition.templates import moe_scaled

from .beside_cases import FALSE as BESIDE_FALSE
from .beside_cases import TRUE as BESIDE_TRUE
from .families import (
    TOP_K,
    WRONG_TOP_K,
    attention,
    dense,
    gated,
    gemm,
    merge,
    mla,
    mla_decode,
    moe,
    norm,
    paged,
    ragged,
    renorm,
    routing,
    sampled,
    top_p,
    trtllm,
)
from .own_cases import COMPARED
from .own_cases import FALSE as OWN_FALSE
from .own_cases import TRUE as OWN_TRUE
from .references import NORM
from .scaled_cases import FALSE as SCALED_FALSE
from .scaled_cases import TRUE as SCALED_TRUE
from .scaled_cases import experts

JOINT, BOTH = "top_k_top_p_joint_sampling", {"top_k": "int32", "top_p": "float32"}
TRUE = {
    "rmsnorm": norm("rmsnorm_h64"),
    "rmsnorm eps": norm("rmsnorm_h64_eps1e-5", eps=1e-5),
    "fused_add_rmsnorm": norm("fused_add_rmsnorm_h64", residual=True),
    "gemma_rmsnorm": norm("gemma_rmsnorm_h64", gemma=True),
    "gemma_fused_add_rmsnorm": norm("gemma_fused_add_rmsnorm_h64", residual=True, gemma=True),
    "decode": attention(
        "gqa_paged_decode_h4", "gqa_paged_decode", paged("batch_size"), "batch_size"
    ),
    "decode window": attention(
        "gqa_paged_decode_h4_win1",
        "gqa_paged_decode",
        paged("batch_size"),
        "batch_size",
        WINDOW_LEFT=1,
    ),
    "prefill": attention("gqa_paged_prefill_h4", "gqa_paged_prefill", paged()),
    "prefill noncausal": attention(
        "gqa_paged_prefill_h4_noncausal", "gqa_paged_prefill", paged(), CAUSAL=False
    ),
    "ragged": ragged("gqa_ragged_h4"),
    "ragged window": ragged("gqa_ragged_h4_win1", WINDOW_LEFT=1),
    "mla ragged": ragged("mla_ragged_prefill_causal_h4"),
    "mla ragged noncausal": ragged("mla_ragged_prefill_noncausal_h4", CAUSAL=False),
    "mla prefill": mla("mla_paged_prefill_causal_h4"),
    "mla decode": mla_decode("mla_paged_decode_h4"),
    "trtllm decode": trtllm(),
    "trtllm context": trtllm("trtllm_batch_context_h4_kv2_d16_ps8"),
    "trtllm nhd": trtllm("trtllm_batch_decode_h4_kv2_d16_ps8_nhd", nhd=True),
    "trtllm mla": dense(),
    "merge": merge(),
    "top_k": renorm("top_k_renorm_probs_v500", TOP_K, "top_k", "int32"),
    "top_p": top_p(),
    "sampling": sampled("sampling_from_probs_v500", "sampling_from_probs"),
    "min-p sampling": sampled("min_p_sampling_v500", "min_p_sampling", min_p="float32"),
    "joint sampling": sampled("top_k_top_p_sampling_v500_joint", JOINT, **BOTH),
    "routing": routing(),
    "moe ds": moe(),
    "moe renormalize": moe("renormalize"),
    "gemm": gemm(),
    "silu": gated(),
}
FALSE = {
    "another epsilon": norm("rmsnorm_h64", eps=1e-5),
    "an epsilon as the template's": norm("rmsnorm_h64_eps1e-5"),
    "gemma without its one": norm("gemma_rmsnorm_h64"),
    "a one without gemma": norm("rmsnorm_h64", gemma=True),
    "residual forgotten": norm("fused_add_rmsnorm_h64", residual=True)
    | {"reference": NORM.format(eps=1e-6, residual="residual, ", plus="", one="")},
    "causal as noncausal": ragged("gqa_ragged_h4_noncausal"),
    "noncausal as causal": ragged("gqa_ragged_h4", CAUSAL=False),
    "noncausal mla as causal": mla("mla_paged_prefill_causal_h4", CAUSAL=False),
    "window forgotten": ragged("gqa_ragged_h4_win1"),
    "window too many": ragged("gqa_ragged_h4", WINDOW_LEFT=1),
    "another window": ragged("gqa_ragged_h4_win1", WINDOW_LEFT=0),
    "last key forgotten": trtllm(short=" - 1"),
    "whole last page": trtllm(short=" // 8 * 8 + 8"),
    "page and head swapped": trtllm(swapped=".reshape(-1, 2, 8, 2, 16)"),
    "natural logarithm": merge("torch.logaddexp", "torch.exp"),
    "ties dropped": renorm("top_k_renorm_probs_v500", WRONG_TOP_K, "top_k", "int32"),
    "the one that reaches p dropped": top_p(minus=""),
    "joint filters as top-k first": sampled("top_k_top_p_sampling_v500", JOINT, **BOTH),
    "unfiltered as min-p": sampled("min_p_sampling_v500", "sampling_from_probs")
    | {"inputs": sampled("min_p_sampling_v500", "min_p_sampling", min_p="float32")["inputs"]}
    | {
        "reference": reference("sampling_from_probs", {}).replace(
            "probs: torch.Tensor", "probs, min_p"
        )
    },
    "groups by their best": routing(sum_of=1),
    "weights with the bias": routing(weights="(s + bias)"),
    "gate and up swapped": moe(halves="gate, up"),
    "moe groups by their best": moe(sum_of=1),
    "softmax before top-k": moe("renormalize", topk="softmax(-1).topk(4, dim=-1)"),
    "scaling forgotten": moe("renormalize", scale=""),
    "gelu as silu": gated("gelu"),
    "B not transposed": gemm(t=""),
}


def compared(case: Any) -> dict[str, Any] | None:
    """Compare a definition's reference."""
    return agreement(case, generate(case).values, loaded(case["reference"]))


ANY_SIZE = OWN_TRUE | BESIDE_TRUE | SCALED_TRUE  # outputs are of any size
TRUE |= ANY_SIZE
FALSE |= OWN_FALSE | BESIDE_FALSE | SCALED_FALSE


@pytest.mark.parametrize("name", TRUE)
def test_true_references_agree(name: str) -> None:
    found = compared(TRUE[name])
    assert found is not None and found["agrees"], found
    if name not in ANY_SIZE:
        assert all(output["largest"] < 0.1 for output in found["outputs"].values())


@pytest.mark.parametrize("name", FALSE)
def test_false_references_do_not(name: str) -> None:
    found = compared(FALSE[name])
    assert found is not None and not found["agrees"], found


def test_every_template_of_ours_is_compared() -> None:
    ours = {
        value.reference
        for info in pkgutil.iter_modules(templates.__path__)
        for value in vars(importlib.import_module(f"{templates.__name__}.{info.name}")).values()
        if isinstance(value, OwnTemplate)
    }
    assert ours - COMPARED <= {"mla_paged_prefill"}  # which families.py has


def test_every_row_is_tried() -> None:
    tried = {row.name for row in map(row_of, TRUE.values()) if row is not None}
    assert tried == {row.name for row in ROWS}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "gqa_ragged_h4_cap30"},
        {"name": "other_h64"},
        {"name": "rmsnorm_h64"},
        {"outputs": {"output": {"shape": ["total_q", "h", "e"], "dtype": "bool"}}},
    ],
)
def test_what_is_not_known_is_not_compared(change: dict[str, Any]) -> None:
    case = ragged("gqa_ragged_h4") | change
    assert compared(case) is None


@pytest.mark.parametrize("start", ["llama4_routing_topk3", "ds_shared_experts_s1_topk3"])
def test_experts_that_nobody_computes_again_are_not_compared(start: str) -> None:
    case = experts(moe_scaled.NVFP4, "sigmoid")
    known = {**case, "name": "moe_fp4_block_scale_topk_routing_topk3_e6_h64_i32_act3"}
    other = {**case, "name": f"moe_fp4_block_scale_{start}_e6_h64_i32_act3"}
    assert row_of(known) is not None and row_of(other) is None


def test_zeros_agree_with_nothing() -> None:
    case = experts(moe_scaled.FP8, "sigmoid")
    values = generate(case).values
    elsewhere = {**values, "local_expert_offset": 100}  # on another rank, all of them
    run = loaded(case["reference"])
    assert agreement(case, values, run) is not None
    assert agreement(case, elsewhere, run) is None


@pytest.mark.parametrize(
    ("got", "expected", "agrees"),
    [
        ([1.0], [1.0], True),
        ([float("inf")], [1.0], False),
        ([1.0], [-float("inf")], False),
        ([-float("inf")], [-float("inf")], True),
        ([float("nan")], [1.0], False),
        ([1e-4, 0.0], [2e-4, 0.0], False),  # small outputs have a small tolerance
        ([1.0, 1e-3], [1.0, 2e-3], True),
    ],
)
def test_what_is_within_a_tolerance(got: list[float], expected: list[float], agrees: bool) -> None:
    pair = Pair(torch.tensor(got), torch.tensor(expected))
    assert verify._compared({"dtype": "bfloat16"}, pair)["agrees"] is agrees


def test_tolerances_are_those_of_the_dtype() -> None:
    found = compared(norm("rmsnorm_h64"))
    assert found is not None
    output = found["outputs"]["output"]
    assert (output["atol"], output["rtol"]) == TOLERANCES["bfloat16"]
    assert output["largest"] > 0
    assert torch.finfo(torch.bfloat16).eps / 2 < output["rtol"]


def test_halfway_between_two_codes_is_rounded_to_the_even_one() -> None:
    scope: dict[str, Any] = {}
    exec((REFERENCES / "parts" / "e2m1.py").read_text(encoding="utf-8"), scope)
    middles = [(a + b) / 2 for a, b in itertools.pairwise(quantized.E2M1)]
    values = torch.tensor([*middles, *quantized.E2M1, 100.0])
    found = scope["to_e2m1"](torch.cat([values, -values]))
    expected = [quantized.nearest(v, quantized.E2M1).place for v in values.tolist()]
    negative = [c + 8 * (v > 0) for c, v in zip(expected, values.tolist(), strict=True)]
    assert found.tolist() == [*expected, *negative]
    assert all(code % 2 == 0 for code in expected[: len(middles)])
    numbers = scope["from_e2m1"](scope["packed"](torch.arange(16))).tolist()
    assert numbers == [*quantized.E2M1, *(-size for size in quantized.E2M1)]


def test_only_tokens_near_a_top_p_limit_are_open() -> None:
    probs = torch.tensor([[0.05, 0.5, 0.15, 0.3]] * 3)
    values = {"probs": probs, "top_p": torch.tensor([0.8, 0.7, 0.79])}
    (pair,) = independent.top_p_renorm({}, values, lambda probs, top_p: [probs])
    assert (~pair.sure).nonzero().tolist() == [[0, 2]]
    for row in (1, 2):
        torch.testing.assert_close(pair.expected[row].float(), probs[0] * (probs[0] > 0.2) / 0.8)
