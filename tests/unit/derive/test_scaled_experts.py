"""Experts in scaled formats against a loop over tokens, and the calls that our template takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kerneldefs.capture.record import KernelCall, Template
from kerneldefs.definition.evidence import Evidence, gather
from kerneldefs.definition.templates import retarget
from kerneldefs.derive.equivalent import Underivable, fact

from .calls import experts, made, run

EXPERTS, TOKENS, HIDDEN, WIDTH = 4, 5, 64, 32
E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6])


def spread(rows: torch.Tensor, columns: int) -> torch.Tensor:
    return rows.repeat_interleave(columns // rows.shape[-1], dim=-1)


def fp4(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return packed codes and their numbers."""
    codes = torch.randint(0, 16, shape)
    return (codes[..., 0::2] + 16 * codes[..., 1::2]).byte(), E2M1[codes]


def fp8(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    codes = torch.randn(shape).to(torch.float8_e4m3fn)
    return codes, codes.float()


def exponents(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    bytes_ = torch.randint(123, 128, shape)
    return bytes_.byte(), 2.0 ** (bytes_ - 127)


def positive(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = (torch.rand(shape) + 0.5).to(torch.float8_e4m3fn)
    return numbers, numbers.float()


# Scheme -> makers of numbers and of scales, and how many numbers have one scale.
FORMATS: dict[str, tuple[Any, Any, int]] = {
    "mxfp8": (fp8, exponents, 32),
    "nvfp4": (fp4, positive, 16),
    "fp8_tensor": (fp8, None, 0),
}


def expected(
    hidden: Any, chosen: Any, weights: Any, first: Any, second: Any, said: dict[str, Any]
) -> torch.Tensor:
    output = torch.zeros(TOKENS, HIDDEN)
    for t in range(TOKENS):
        for e, weight in zip(chosen[t].tolist(), weights[t], strict=True):
            up, gate = (first[e] @ hidden[t]).chunk(2)
            if "limit" in said:
                up, gate = (
                    up.clamp(-said["limit"][e], said["limit"][e]),
                    gate.clamp(max=said["limit"][e]),
                )
            gate = gate * said["gate"][e]
            inner = (
                gate * (said["alpha"][e] * gate).sigmoid() * (up + said["beta"][e]) * said["up"][e]
            )
            output[t] += weight * (second[e] @ inner) * said["down"][e]
    return output


@pytest.mark.parametrize("scheme", FORMATS)
def test_references_agree_with_a_loop(scheme: str) -> None:
    torch.manual_seed(0)
    numbers, scales, block = FORMATS[scheme]
    sizes = {"num_local_experts": EXPERTS, "hidden_size": HIDDEN, "intermediate_size": WIDTH}
    beyond = {"clamp": 3.0, "alpha": 1.702} if block else {}
    call = experts(
        "sigmoid_renorm", quantization=scheme, routed_scaling_factor=2.0, **beyond, **sizes
    )
    words = {"mxfp8": "mxfp8_block_scale_clamped", "nvfp4": "nvfp4_block_scale_clamped"}
    start = words.get(scheme, "fp8_per_tensor")
    definition = made(call, f"moe_{start}_sigmoid_renorm_routing_topk2_e4_h64_i32")
    logits, each = torch.randn(TOKENS, EXPERTS), torch.rand(6, EXPERTS) + 0.5
    given: dict[str, Any] = {"routing_logits": logits, "local_expert_offset": 0}
    given["routed_scaling_factor"] = 2.0
    found = {}
    for name, shape in {
        "hidden_states": (TOKENS, HIDDEN),
        "gemm1_weights": (EXPERTS, 2 * WIDTH, HIDDEN),
        "gemm2_weights": (EXPERTS, HIDDEN, WIDTH),
    }.items():
        given[name], found[name] = numbers(*shape)
        if block:
            given[f"{name}_scale"], factors = scales(*shape[:-1], shape[-1] // block)
            found[name] = found[name] * spread(factors, shape[-1])
    said = {name: torch.ones(EXPERTS) for name in ("gate", "up", "down", "alpha")}
    said["beta"] = torch.zeros(EXPERTS)
    if block:
        said |= {"limit": each[0] * 3, "alpha": each[1], "beta": each[2]}
        given |= {"gemm1_clamp_limit": each[0] * 3, "gemm1_alpha": each[1], "gemm1_beta": each[2]}
    if scheme != "mxfp8":
        said |= {"up": each[3], "gate": each[4], "down": each[5]}
        for n, name in enumerate(("output1_scale", "output1_scale_gate", "output2_scale")):
            given[f"{name}_scalar"] = each[3 + n]
    top, chosen = logits.sigmoid().topk(2)
    weights = 2.0 * top / top.sum(-1, keepdim=True)
    parts = [found[name] for name in ("hidden_states", "gemm1_weights", "gemm2_weights")]
    result = run(definition, *(given[name] for name in definition["inputs"])).float()
    wanted = expected(parts[0], chosen, weights, *parts[1:], said)
    torch.testing.assert_close(result, wanted, rtol=1e-2, atol=1e-2 * float(wanted.abs().max()))


@pytest.mark.parametrize("routing", ["topk", "sigmoid_renorm"])
def test_routings_that_no_true_template_of_flashinfer_knows(routing: str) -> None:
    sizes = {"num_local_experts": EXPERTS, "hidden_size": 128, "intermediate_size": 128}
    call = experts(routing, quantization="nvfp4", **sizes)
    assert made(call, f"moe_nvfp4_block_scale_{routing}_routing_topk2_e4_h128_i128")
    with pytest.raises(Underivable, match=f"no FP8 template: {routing}"):
        made(experts(routing, quantization="fp8_block", **sizes), "")


def evidence(api: str, tensors: dict[str, Any], **scalars: Any) -> Evidence:
    """Return a call of one of FlashInfer's mixtures, four of sixteen experts."""
    made_up = {"phase": "decode", "layer": "x", "plan": None, "state": {}}
    common = {"num_experts": 16, "top_k": 2, "n_group": None, "topk_group": None}
    call = KernelCall(
        op=f"flashinfer.fused_moe.core.{api}",
        tensors=tensors,
        scalars={**common, "intermediate_size": 128, "local_num_experts": 4, **scalars},
        outputs=(fact("bfloat16", 8, 100),),
        definition=None,
        template=None,
        marks=(),
        **made_up,
    )
    return gather(call, Template(api, "moe", api, "", {}, {}, {}, (), True))


def fp4_call(hidden: str, block: int, *each: str) -> dict[str, Any]:
    width = 64 if hidden == "uint8" else 128
    scales = {f"gemm{n}_weights_scale": fact("float8_e4m3fn", 4, 256, 128 // block) for n in (1, 2)}
    weights = {f"gemm{n}_weights": fact("uint8", 4, 256, 64) for n in (1, 2)}
    return {"hidden_states": fact(hidden, 8, width), **scales, **weights} | {
        name: fact("float32", 4) for name in each
    }


@pytest.mark.parametrize(
    ("tensors", "prefix"),
    [
        (fp4_call("uint8", 16), None),  # FlashInfer's own template
        (fp4_call("uint8", 16, "gemm1_clamp_limit"), "nvfp4_block_scale_clamped"),
        (fp4_call("float8_e4m3fn", 32, "gemm1_bias"), "mxfp8_mxfp4_block_scale_biased"),
        (fp4_call("bfloat16", 32), "bf16_mxfp4_block_scale"),
    ],
)
def test_a_call_beyond_flashinfers_template_gets_ours(tensors: Any, prefix: str | None) -> None:
    api = "trtllm_fp4_block_scale_moe"
    draft = {"tags": [f"fi_api:{api}"]}
    found = retarget(
        draft, evidence(api, tensors, routing_method_type=1, routed_scaling_factor=1.0)
    )
    if prefix is None:
        assert found is None
        return
    assert found is not None
    assert found[0]["name"] == f"moe_{prefix}_renormalize_routing"
    scale = found[1].of("gemm1_weights_scale").tensor
    assert found[1].of("routed_scaling_factor").absent
    assert scale is not None and scale.dtype == ("float8_e4m3fn" if "nvfp4" in prefix else "uint8")
