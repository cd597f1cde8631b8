"""Equivalents with templates of ours become definitions; each reference is held against torch."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from kerneldefs.capture.observe import ops
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.draft import Quarantine
from kerneldefs.derive.catalogue import Catalogue
from kerneldefs.derive.define import define
from kerneldefs.derive.derive import derive
from kerneldefs.derive.equivalent import VARIANTS, Options, fact
from kerneldefs.derive.registry import equivalents, families
from kerneldefs.serving.expected import expected
from kerneldefs.serving.modelconfig import read_model_config

from .make import MODELS, config

EMPTY = Catalogue("0.0", ())
BF16 = "bfloat16"


def seen(
    op: str, tensors: dict[str, Any], outputs: tuple[Any, ...] = (), **said: Any
) -> KernelCall:
    """Return an observed call."""
    plain = {"phase": "decode", "layer": "model.layers.N.x", "plan": None, "state": {}}
    return KernelCall(
        op=op,
        tensors=tensors,
        scalars=said,
        outputs=outputs,
        definition=None,
        template=None,
        marks=(),
        **plain,
    )


def made(call: KernelCall, name: str, **options: Any) -> dict[str, Any]:
    """Return the definition of a name that a call leads to."""
    for _, equivalent in equivalents(call, Options(**options)):
        if equivalent.name == name:
            return define(equivalent, call, EMPTY, config("llama-3.1-8b")).definition
    raise AssertionError(name)


def run(definition: dict[str, Any], *inputs: Any) -> Any:
    """Run a reference of ours."""
    space: dict[str, Any] = {}
    exec(definition["reference"], space)
    return space["run"](*inputs)


def linear(**said: Any) -> KernelCall:
    """Return a linear layer's call: 16 tokens of 64 features to 48."""
    return seen(
        ops.LINEAR,
        {"x": fact(BF16, 16, 64), "weight": fact(BF16, 48, 64)},
        (fact(BF16, 16, 48),),
        **{"quantization": "none", "bias": False, **said},
    )


def test_gemm() -> None:
    definition = made(linear(), "gemm_n48_k64")
    a, b = torch.randn(4, 64), torch.randn(48, 64)
    torch.testing.assert_close(run(definition, a, b), F.linear(a, b))
    assert {"fi_api:flashinfer.gemm.mm_bf16", "origin:derived"} <= set(definition["tags"])
    biased = made(linear(bias=True), "gemm_n48_k64_bias")
    bias = torch.randn(48)
    torch.testing.assert_close(run(biased, a, b, bias), F.linear(a, b, bias))


def test_gemm_in_blocks_of_fp8() -> None:
    call = seen(
        ops.LINEAR,
        {"x": fact(BF16, 16, 256), "weight": fact("float8_e4m3fn", 192, 256)},
        (fact(BF16, 16, 192),),
        quantization="fp8_block",
        block_n=128,
        block_k=128,
    )
    definition = made(call, "gemm_fp8_nt_groupwise_n192_k256")
    a, b = torch.randn(3, 256).to(torch.float8_e4m3fn), torch.randn(192, 256)
    a_scale, b_scale = torch.rand(3, 2), torch.rand(2, 2)
    b = b.to(torch.float8_e4m3fn)
    expected = torch.zeros(3, 192)
    for n in range(192):
        for k in range(256):
            weight = b[n, k].float() * b_scale[n // 128, k // 128]
            expected[:, n] += a[:, k].float() * a_scale[:, k // 128] * weight
    found = run(definition, a, b, a_scale, b_scale).float()
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("neox", [True, False])
def test_rope(neox: bool) -> None:
    call = seen(
        ops.ROPE,
        {
            "query": fact(BF16, 16, 2 * 16),
            "key": fact(BF16, 16, 16),
            "positions": fact("int64", 16),
            "cos_sin_cache": fact("float32", 64, 8),
        },
        head_size=16,
        rotary_dim=8,
        is_neox=neox,
    )
    style = "neox" if neox else "gptj"
    definition = made(call, f"rope_with_cos_sin_cache_{style}_style_d16_rd8")
    q, k, positions = torch.randn(5, 2, 16), torch.randn(5, 1, 16), torch.tensor([0, 3, 7, 7, 9])
    angles = torch.arange(10)[:, None] * torch.rand(4)
    cache = torch.cat([angles.cos(), angles.sin()], dim=-1)
    found = run(definition, q, k, cache, positions)
    for given, turned in zip((q, k), found, strict=True):
        pairs = [(i, i + 4) if neox else (2 * i, 2 * i + 1) for i in range(4)]
        expected = given.clone()
        for i, (first, second) in enumerate(pairs):
            both = torch.complex(given[..., first], given[..., second])
            turn = torch.polar(torch.ones(5), angles[positions, i])[:, None]
            expected[..., first], expected[..., second] = (both * turn).real, (both * turn).imag
        torch.testing.assert_close(turned, expected)


def attention(mode: str, **said: Any) -> KernelCall:
    """Return a call of a grouped-query attention layer."""
    plain = {
        "num_qo_heads": 4,
        "num_kv_heads": 2,
        "head_dim_qk": 8,
        "head_dim_vo": 8,
        "window_left": -1,
        "soft_cap": 0.0,
        "scale": 8**-0.5,
        "sinks": False,
        "attention": "decoder",
        "mode": mode,
        "cached_prefix": False,
    }
    return seen(ops.ATTENTION, {"q": fact(BF16, 16, 32)}, **{**plain, **said})


def paged() -> dict[str, Any]:
    """Return two requests of 6 and 3 keys on pages of 4, in no order."""
    return {
        "kv_indptr": torch.tensor([0, 2, 3], dtype=torch.int32),
        "kv_indices": torch.tensor([4, 1, 2], dtype=torch.int32),
        "kv_last_page_len": torch.tensor([2, 3], dtype=torch.int32),
    }


def keys(cache: torch.Tensor, request: int) -> torch.Tensor:
    """Return what the requests of `paged` have in a cache, by another way."""
    slots = [[(4, 0), (4, 1), (4, 2), (4, 3), (1, 0), (1, 1)], [(2, 0), (2, 1), (2, 2)]]
    return torch.stack([cache[page, row] for page, row in slots[request]])


def test_paged_decode_leaves_out_the_rest_of_the_last_page() -> None:
    name = "gqa_paged_decode_h4_kv2_d8_ps4"
    definition = made(attention("decode"), name, page_sizes=(1, 4))
    assert {"variant:page_size", "origin:derived"} <= set(definition["tags"])
    q, k, v = torch.randn(2, 4, 8), torch.randn(5, 4, 2, 8), torch.randn(5, 4, 2, 8)
    output, lse = run(definition, q, k, v, *paged().values(), 0.5)
    for i in range(2):
        k_i, v_i = (keys(t, i).repeat_interleave(2, dim=1).transpose(0, 1) for t in (k, v))
        expected = F.scaled_dot_product_attention(q[i][:, None], k_i, v_i, scale=0.5)
        torch.testing.assert_close(output[i], expected[:, 0])
        logits = (q[i][:, None] @ k_i.transpose(1, 2))[:, 0] * 0.5
        torch.testing.assert_close(lse[i], logits.logsumexp(-1) / math.log(2))


def test_paged_prefill_is_causal_to_the_last_key() -> None:
    name = "gqa_paged_prefill_h4_kv2_d8_ps4"
    definition = made(attention("extend"), name, page_sizes=(1, 4))
    q, k, v = torch.randn(4, 4, 8), torch.randn(5, 4, 2, 8), torch.randn(5, 4, 2, 8)
    offsets = torch.tensor([0, 3, 4], dtype=torch.int32)
    output, _ = run(definition, q, k, v, offsets, *paged().values(), 0.5)
    for i, (start, end) in enumerate([(0, 3), (3, 4)]):
        k_i, v_i = (keys(t, i).repeat_interleave(2, dim=1).transpose(0, 1) for t in (k, v))
        count, total = end - start, k_i.shape[1]
        mask = torch.ones(count, total, dtype=torch.bool).tril(total - count)
        part = q[start:end].transpose(0, 1)
        expected = F.scaled_dot_product_attention(part, k_i, v_i, attn_mask=mask, scale=0.5)
        torch.testing.assert_close(output[start:end], expected.transpose(0, 1))


@pytest.mark.parametrize("mode", ["decode", "extend"])
def test_paged_latent_attention(mode: str) -> None:
    call = attention(mode, num_kv_heads=1, head_dim_qk=12, head_dim_vo=8)
    prefix = "mla_paged_decode" if mode == "decode" else "mla_paged_prefill_causal"
    definition = made(call, f"{prefix}_h4_ckv8_kpe4_ps4", page_sizes=(4,))
    q, cache = torch.randn(2, 4, 12), torch.randn(5, 4, 12)
    offsets = [] if mode == "decode" else [torch.tensor([0, 1, 2], dtype=torch.int32)]
    parts = (q[..., :8], q[..., 8:], cache[..., :8], cache[..., 8:])
    output, _ = run(definition, *parts, *offsets, *paged().values(), 0.5)
    for i in range(2):
        rows = keys(cache, i)
        weights = (q[i] @ rows.T * 0.5).softmax(-1)
        torch.testing.assert_close(output[i], weights @ rows[:, :8])


def test_append() -> None:
    definition = made(attention("decode"), "append_paged_kv_cache_kv2_d8_ps4", page_sizes=(4,))
    k, v = torch.zeros(5, 4, 2, 8), torch.zeros(5, 4, 2, 8)
    new = torch.randn(3, 2, 8)
    places = paged()
    owners, at = torch.tensor([0, 0, 1]), torch.tensor([4, 5, 2])
    order = (places["kv_indices"], places["kv_indptr"], places["kv_last_page_len"])
    k_out, v_out = run(definition, new, 2 * new, owners, at, k, v, *order)
    assert torch.equal(k_out[1, :2], new[:2]) and torch.equal(k_out[2, 2], new[2])
    assert torch.equal(v_out, 2 * k_out) and not k.any()


def test_state_space_step() -> None:
    shapes = {"state": (8, 4, 3, 5), "x": (2, 4, 3), "dt": (2, 4, 3), "A": (4, 3, 5)}
    shapes |= {"B": (2, 2, 5), "C": (2, 2, 5), "D": (4, 3), "dt_bias": (4, 3)}
    tensors = {name: fact("float32", *shape) for name, shape in shapes.items()}
    call = seen(ops.STATE_SPACE, tensors, dt_softplus=True)
    definition = made(call, "mamba_ssu_decode_h4_d3_s5_ng2")
    given = {name: torch.randn(shape) for name, shape in shapes.items()}
    slots = torch.tensor([5, 2], dtype=torch.int32)
    output, state = run(definition, *given.values(), slots)
    for i, slot in enumerate(slots.tolist()):
        for h in range(4):
            for c in range(3):
                dt = F.softplus(given["dt"][i, h, c] + given["dt_bias"][h, c])
                b, x = given["B"][i, h // 2], given["x"][i, h, c]
                new = given["state"][slot, h, c] * torch.exp(dt * given["A"][h, c]) + dt * b * x
                torch.testing.assert_close(state[slot, h, c], new)
                expected = new @ given["C"][i, h // 2] + given["D"][h, c] * x
                torch.testing.assert_close(output[i, h, c], expected)
    assert torch.equal(state[0], given["state"][0])


def experts(routing: str, **said: Any) -> KernelCall:
    """Return a call of two local experts of four."""
    plain = {
        "quantization": "none",
        "num_experts": 4,
        "num_local_experts": 2,
        "top_k": 2,
        "hidden_size": 8,
        "intermediate_size": 6,
        "routing": routing,
        "n_group": None,
        "topk_group": None,
        "activation": "silu",
        "gated": True,
        "clamp": None,
        "alpha": None,
        "routed_scaling_factor": None,
    }
    return seen(ops.FUSED_MOE, {"hidden_states": fact(BF16, 16, 8)}, **{**plain, **said})


@pytest.mark.parametrize("routing", ["renormalize", "renormalize_naive", "default", "sigmoid"])
def test_mixture_of_experts(routing: str) -> None:
    name = f"moe_bf16_{routing}_routing_topk2_e2_h8_i6"
    definition = made(experts(routing), name)
    logits, x = torch.randn(5, 4), torch.randn(5, 8)
    first, second = torch.randn(2, 12, 8), torch.randn(2, 8, 6)
    found = run(definition, logits, x, first, second)
    scores = logits.sigmoid() if routing == "sigmoid" else logits.softmax(-1)
    weights, chosen = scores.topk(2)
    if routing.startswith("renormalize"):  # a softmax of the chosen logits is the same
        weights = weights / weights.sum(-1, keepdim=True)
    for t in range(5):
        expected = torch.zeros(8)
        for weight, expert in zip(weights[t], chosen[t].tolist(), strict=True):
            if expert < 2:
                up, gate = (first[expert] @ x[t]).chunk(2)
                expected += weight * (second[expert] @ (F.silu(gate) * up))
        torch.testing.assert_close(found[t], expected, rtol=1e-4, atol=1e-4)


def test_what_a_family_cannot_make_stands_in_the_report() -> None:
    calls = [
        experts("custom: f"),
        attention("decode", sinks=True),
        linear(quantization="other: AWQ"),
    ]
    result = derive(config("llama-3.1-8b"), calls, EMPTY, Options())
    assert {item.cause for item in result.quarantined} == {
        "moe-routing",
        "attention-sinks",
        "gemm-format",
    }


def test_marked_calls_and_other_names_are_quarantined() -> None:
    call = linear()
    ((_, equivalent),) = equivalents(call, Options())
    doubted = KernelCall(**{**vars(call), "marks": ("after a guessed value",)})
    with pytest.raises(Quarantine, match="guessed"):
        define(equivalent, doubted, EMPTY, config("llama-3.1-8b"))
    other = type(equivalent)(**{**vars(equivalent), "name": "gemm_n1_k1"})
    with pytest.raises(Quarantine, match="expects gemm_n1_k1"):
        define(other, call, EMPTY, config("llama-3.1-8b"))


def test_sizes_are_held_against_the_observed_call_and_the_model() -> None:
    call = attention("decode", num_qo_heads=32, num_kv_heads=8, head_dim_qk=128, head_dim_vo=128)
    name = "gqa_paged_decode_h32_kv8_d128_ps4"
    options = Options(page_sizes=(4,))
    own = next(e for _, e in equivalents(call, options) if e.name == name)
    plain = config("llama-3.1-8b")
    model = read_model_config(MODELS / "llama-3.1-8b", plain.repo_id, plain.revision)
    define(own, call, EMPTY, plain, expected(model, plain))
    other = dataclasses.replace(call, scalars={**call.scalars, "num_kv_heads": 4})
    with pytest.raises(Quarantine, match=r"num_kv_heads is 8; the call shows 4 .*predict 8"):
        define(own, other, EMPTY, plain, expected(model, plain))
    halved = expected(model, dataclasses.replace(plain, tp=2))
    with pytest.raises(Quarantine, match=r"num_qo_heads is 32; the call shows 32 .*predict 16"):
        define(own, call, EMPTY, plain, halved)


def test_sizes_that_no_tensor_shows_are_seen_in_the_observed_call() -> None:
    result = derive(
        config("llama-3.1-8b"), [experts("ds", n_group=2, topk_group=1)], EMPTY, Options()
    )
    assert [c.name for c in result.candidates] == ["moe_bf16_ds_routing_topk2_ng2_kg1_e2_h8_i6"]


def test_what_ran_is_no_variant_whatever_else_leads_to_it() -> None:
    """o_proj has the shape of the q shard of a fused layer."""
    fused = linear(shards="48,16,16")
    result = derive(config("llama-3.1-8b"), [fused], EMPTY, Options(VARIANTS))
    tags = {c.name: set(c.definition["tags"]) for c in result.candidates}
    assert "variant:unfused" not in tags["gemm_n48_k64"]
    assert "variant:unfused" in tags["gemm_n16_k64"]
    assert result.index["definitions"]["gemm_n48_k64"]["variant"] == ""


def test_every_family_reads_an_op_that_hooks_write() -> None:
    constants = (value for name, value in vars(ops).items() if name.isupper())
    written = {value for value in constants if isinstance(value, str)}
    assert all(set(family.ops) <= written for family in families())
    assert len({family.name for family in families()}) == len(families())
