"""Templates of ours become definitions; each reference is held against torch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from kerneldefs.capture.observe import ops
from kerneldefs.derive.equivalent import Options, fact
from kerneldefs.derive.registry import equivalents

from .calls import BF16, attention, experts, linear, made, run, seen


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


def test_an_indexer_that_is_asked_in_vain_has_no_definition() -> None:
    asked = seen(ops.INDEXER, {}, num_heads=2, head_dim=8, topk=5)
    assert list(equivalents(asked, Options())) == []


def test_sparse_indexer_chooses_the_slots_of_the_largest_scores() -> None:
    call = seen(ops.INDEXER, {}, (fact("int32", 2, 5),), num_heads=2, head_dim=8, topk=5)
    definition = made(call, "dsa_topk_indexer_fp8_h2_d8_topk5_ps64")
    assert not any(tag.startswith("fi_api:") for tag in definition["tags"])
    keys, scales = torch.randn(3, 64, 8).to(torch.float8_e4m3fn), torch.rand(3, 64) + 0.5
    pages = [keys.flatten(1).view(torch.int8), scales.view(torch.int8)]
    cache = torch.cat(pages, dim=1).reshape(3, 64, 1, 12)
    q, weights = torch.randn(2, 2, 8).to(torch.float8_e4m3fn), torch.rand(2, 2) + 0.5
    table = torch.tensor([[2, 0], [1, 0]], dtype=torch.int32)
    found = run(definition, q, cache, weights, torch.tensor([70, 3]), table)
    places = [[(2, n) for n in range(64)] + [(0, n) for n in range(6)], [(1, n) for n in range(3)]]
    for i in range(2):
        scores = {}
        for page, n in places[i]:
            key = keys[page, n].float() * scales[page, n]
            heads = [weights[i, h] * max(float(q[i, h].float() @ key), 0.0) for h in range(2)]
            scores[page * 64 + n] = float(sum(heads))
        best = sorted(scores, key=lambda slot: -scores[slot])[:5]
        count = len(best)  # all of a short request, in any order where none scores
        assert sorted(found[i, :count].tolist()) == sorted(best)
        assert found[i, count:].tolist() == [-1] * (5 - count)


def test_sparse_attention_reads_the_chosen_slots_alone() -> None:
    sparse = {"num_kv_heads": 1, "head_dim_qk": 12, "head_dim_vo": 8, "sparse_topk": 5}
    definition = made(attention("decode", **sparse), "dsa_sparse_attention_h4_ckv8_kpe4_topk5_ps64")
    q, cache = torch.randn(2, 4, 12), torch.randn(3, 64, 12)
    chosen = torch.tensor([[130, 2, 64, 7, 191], [5, 66, -1, -1, -1]], dtype=torch.int32)
    parts = (q[..., :8], q[..., 8:], cache[..., :8], cache[..., 8:])
    output, lse = run(definition, *parts, chosen, 0.5)
    for i, slots in enumerate(([130, 2, 64, 7, 191], [5, 66])):
        rows = torch.stack([cache[slot // 64, slot % 64] for slot in slots])[None, None]
        expected = F.scaled_dot_product_attention(q[i][None, :, None], rows, rows, scale=0.5)
        torch.testing.assert_close(output[i], expected[0, :, 0, :8])
        logits = q[i] @ rows[0, 0].T * 0.5
        torch.testing.assert_close(lse[i], logits.logsumexp(-1) / math.log(2))


def test_a_router_multiplies_into_single_precision() -> None:
    shapes = {"x": fact(BF16, 16, 64), "weight": fact(BF16, 48, 64)}
    call = seen(ops.LINEAR, shapes, (fact("float32", 16, 48),), quantization="none", bias=False)
    definition = made(call, "gemm_n48_k64_bf16_bf16_fp32")
    a, b = torch.randn(4, 64).bfloat16(), torch.randn(48, 64).bfloat16()
    found = run(definition, a, b)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, F.linear(a.float(), b.float()))
