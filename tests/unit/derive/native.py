"""Run by test_native.py: references against the forwards that SGLang and Transformers run in torch.

SGLang is imported on the pretended machine, which a process cannot leave; the tensors are on the
real CPU. Prints the name of each case that agreed.
"""

from __future__ import annotations

import sys
import traceback
import types
from typing import Any

import torch
import torch.nn.functional as F

from kerneldefs.capture.observe import ops  # isort: skip
from kerneldefs.derive.equivalent import fact  # isort: skip
from tests.unit.derive import native_gpt_oss  # isort: skip
from tests.unit.derive.calls import BF16, attention, experts, linear, made, run, seen  # isort: skip
from tests.unit.derive.native_cases import CASES, LENGTHS, PAGE, PLACES, SLOTS, case, close  # isort: skip


@case
def gemm() -> None:
    from sglang.srt.layers.quantization.unquant import UnquantizedLinearMethod

    x, weight, bias = torch.randn(5, 64), torch.randn(48, 64), torch.randn(48)
    layer = types.SimpleNamespace(weight=weight)
    plain = made(linear(), "gemm_n48_k64")
    close(run(plain, x, weight), UnquantizedLinearMethod().apply(layer, x))
    biased = made(linear(bias=True), "gemm_n48_k64_bias")
    close(run(biased, x, weight, bias), UnquantizedLinearMethod().apply(layer, x, bias))


@case
def rope() -> None:
    from sglang.srt.layers.rotary_embedding.base import RotaryEmbedding

    positions = torch.tensor([0, 3, 7, 7, 9])
    for neox, style in ((True, "neox"), (False, "gptj")):
        layer = RotaryEmbedding(16, 8, 32, 10_000, neox, torch.float32)
        cache = layer.cos_sin_cache.cpu()
        layer.cos_sin_cache = cache
        shapes = {"query": (16, 32), "key": (16, 16), "cos_sin_cache": (32, 8)}
        tensors = {name: fact(BF16, *shape) for name, shape in shapes.items()}
        call = seen(ops.ROPE, tensors, head_size=16, rotary_dim=8, is_neox=neox)
        definition = made(call, f"rope_with_cos_sin_cache_{style}_style_d16_rd8")
        q, k = torch.randn(5, 2, 16), torch.randn(5, 1, 16)
        expected = layer.forward_native(positions, q.flatten(1), k.flatten(1))
        found = run(definition, q, k, cache, positions)
        for one, other in zip(found, expected, strict=True):
            close(one.flatten(1), other)


def paged(decode: bool, q: Any, k: Any, v: Any, window: int = -1) -> Any:
    """Return SGLang's torch backend's output for the two requests of PLACES."""
    from sglang.srt.layers.attention.torch_native_backend import TorchNativeAttnBackend

    backend = TorchNativeAttnBackend.__new__(TorchNativeAttnBackend)
    lengths = torch.tensor(LENGTHS)
    output = torch.zeros(*q.shape[:2], v.shape[-1])
    common = {"scaling": 0.5, "enable_gqa": True, "sliding_window_size": window}
    rows = (SLOTS, torch.tensor([0, 1]), lengths)
    flat = (k.flatten(0, 1), v.flatten(0, 1))
    if decode:
        return backend._run_sdpa_forward_decode(q, output, *flat, *rows, causal=False, **common)
    fresh = torch.tensor([3, 1])
    return backend._run_sdpa_forward_extend(
        q, output, *flat, *rows, lengths - fresh, fresh, causal=True, **common
    )


@case
def gqa_paged() -> None:
    for window, suffix in ((-1, ""), (2, "_win2")):
        for mode, stage, rows in (("decode", "decode", 2), ("extend", "prefill", 4)):
            name = f"gqa_paged_{stage}_h4_kv2_d8_ps4{suffix}"
            definition = made(attention(mode, window_left=window), name, page_sizes=(1, PAGE))
            q = torch.randn(rows, 4, 8)
            k, v = torch.randn(5, PAGE, 2, 8), torch.randn(5, PAGE, 2, 8)
            more = [torch.tensor([0, 3, 4], dtype=torch.int32)] if rows == 4 else []
            output, _ = run(definition, q, k, v, *more, *PLACES.values(), 0.5)
            close(output, paged(mode == "decode", q, k, v, window))


@case
def mla_paged() -> None:
    for mode, stage, rows in (("decode", "decode", 2), ("extend", "prefill_causal", 4)):
        call = attention(mode, num_kv_heads=1, head_dim_qk=12, head_dim_vo=8)
        definition = made(call, f"mla_paged_{stage}_h4_ckv8_kpe4_ps4", page_sizes=(PAGE,))
        q, cache = torch.randn(rows, 4, 12), torch.randn(5, PAGE, 12)
        more = [torch.tensor([0, 3, 4], dtype=torch.int32)] if rows == 4 else []
        parts = (q[..., :8], q[..., 8:], cache[..., :8], cache[..., 8:])
        output, _ = run(definition, *parts, *more, *PLACES.values(), 0.5)
        keys = cache[:, :, None]
        close(output, paged(mode == "decode", q, keys, keys[..., :8]))


def mixed(weights: Any, ids: Any, x: Any, first: Any, second: Any) -> Any:
    """Return SGLang's experts in torch; it has the gate's rows before the others."""
    from sglang.srt.layers.moe.fused_moe_native import fused_moe_forward_native
    from sglang.srt.layers.moe.moe_runner import MoeRunnerConfig
    from sglang.srt.layers.moe.topk import StandardTopKOutput

    up, gate = first.chunk(2, dim=1)
    layer = types.SimpleNamespace(
        w13_weight=torch.cat([gate, up], dim=1),
        w2_weight=second,
        moe_runner_config=MoeRunnerConfig(activation="silu"),
    )
    rows = types.SimpleNamespace(
        hidden_states=x, topk_output=StandardTopKOutput(weights, ids, None)
    )
    return fused_moe_forward_native(layer, rows).hidden_states


@case
def moe() -> None:
    from sglang.srt.layers.moe.topk import biased_grouped_topk_impl, fused_topk_torch_native

    sizes = {"num_local_experts": 4}
    x, logits, bias = torch.randn(5, 8), torch.randn(5, 4), torch.randn(4)
    first, second = torch.randn(4, 12, 8), torch.randn(4, 8, 6)
    for routing, renormalize, scoring in (
        ("default", False, "softmax"),
        ("renormalize_naive", True, "softmax"),
        ("renormalize", True, "softmax"),
        ("sigmoid", False, "sigmoid"),
        ("sigmoid_renorm", True, "sigmoid"),
    ):
        definition = made(experts(routing, **sizes), f"moe_bf16_{routing}_routing_topk2_e4_h8_i6")
        chosen = fused_topk_torch_native(x, logits, 2, renormalize, None, scoring)
        expected = mixed(*chosen, x, first, second)
        close(run(definition, logits, x, first, second), expected)
    call = experts("ds", n_group=2, topk_group=1, **sizes)
    definition = made(call, "moe_bf16_ds_routing_topk2_ng2_kg1_e4_h8_i6")
    chosen = biased_grouped_topk_impl(x, logits, bias, 2, True, 2, 1)
    close(run(definition, logits, bias, x, first, second), mixed(*chosen, x, first, second))


@case
def gdn_prefill() -> None:
    from transformers.models.qwen3_next import modeling_qwen3_next as qwen

    heads = {"num_q_heads": 2, "num_k_heads": 2, "num_v_heads": 4}
    call = seen(
        ops.LINEAR_ATTENTION, {}, rule="gdn", mode="extend", head_k_dim=8, head_v_dim=8, **heads
    )
    definition = made(call, "gdn_prefill_qk2_v4_d8")
    q, k = (F.normalize(torch.randn(5, 2, 8), dim=-1) for _ in range(2))
    v, a, b = torch.randn(5, 4, 8), torch.randn(5, 4), torch.randn(5, 4)
    rate, bias, state = torch.randn(4), torch.randn(4), torch.randn(2, 4, 8, 8)
    starts = torch.tensor([0, 3, 5])
    output, last = run(definition, q, k, v, state, rate, a, bias, b, starts, 8**-0.5)
    gate = -rate.exp() * F.softplus(a + bias)
    wide = [x.repeat_interleave(2, dim=1) for x in (q, k)]
    for i, part in enumerate((slice(0, 3), slice(3, 5))):
        rows = [x[None, part] for x in (*wide, v, gate, b.sigmoid())]
        expected, end = qwen.torch_recurrent_gated_delta_rule(
            *rows, initial_state=state[i : i + 1].mT, output_final_state=True
        )
        close(output[part], expected[0])
        close(last[i], end[0].mT)


@case
def norms_and_activation() -> None:
    """FlashInfer's own references, which definitions of these take."""
    from flashinfer.trace.templates import activation, norm
    from sglang.srt.layers.activation import SiluAndMul
    from sglang.srt.layers.layernorm import GemmaRMSNorm, RMSNorm

    x, residual, weight = torch.randn(5, 16), torch.randn(5, 16), torch.randn(16)
    for cls, plain, fused in (
        (RMSNorm, norm.rmsnorm_trace, norm.fused_add_rmsnorm_trace),
        (GemmaRMSNorm, norm.gemma_rmsnorm_trace, norm.gemma_fused_add_rmsnorm_trace),
    ):
        layer = cls(16, eps=1e-6)
        layer.weight = torch.nn.Parameter(weight)
        with torch.no_grad():
            close(plain.reference(x, weight), layer.forward_native(x.clone()))
            expected, _ = layer.forward_native(x.clone(), residual.clone())
        found = fused.reference(x, residual, weight)
        close(found[0] if isinstance(found, tuple) else found, expected)
    close(activation.silu_and_mul_trace.reference(x), SiluAndMul().forward_native(x))


def main() -> int:
    """Run every case; 1 where one disagrees."""
    failed = 0
    assert native_gpt_oss.__doc__  # which adds its cases
    for name, function in CASES.items():
        try:
            torch.manual_seed(0)
            function()
            print(name, flush=True)
        except Exception:  # the others are run all the same
            failed = 1
            print(f"--- {name}", file=sys.stderr)
            traceback.print_exc()
    return failed


if __name__ == "__main__":
    from kerneldefs.capture.simulate.pretence import pretence

    pretence("sm_90").import_common()
    raise SystemExit(main())
