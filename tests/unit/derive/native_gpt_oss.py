"""Cases of native.py that Transformers' gpt-oss computes: sinks, and experts in MXFP4."""

from __future__ import annotations

import types
from typing import Any

import torch

from kerneldefs.definition.own import reference  # isort: skip
from tests.unit.derive.calls import attention, experts, made, run  # isort: skip
from tests.unit.derive.native_cases import LENGTHS, PAGE, PLACES, SLOTS, case, close  # isort: skip


@case
def gqa_sinks() -> None:
    from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward

    sinks = torch.randn(4)
    layer = types.SimpleNamespace(num_key_value_groups=2, sinks=sinks, training=False)
    for window, suffix in ((-1, ""), (2, "_win2")):
        for mode, stage, fresh in (("decode", "decode", (1, 1)), ("extend", "prefill", (3, 1))):
            name = f"gqa_paged_{stage}_sinks_h4_kv2_d8_ps4{suffix}"
            call = attention(mode, window_left=window, sinks=True)
            definition = made(call, name, page_sizes=(1, PAGE))
            q = torch.randn(sum(fresh), 4, 8)
            k, v = torch.randn(5, PAGE, 2, 8), torch.randn(5, PAGE, 2, 8)
            starts = torch.tensor([0, fresh[0], sum(fresh)], dtype=torch.int32)
            more = [starts] if mode == "extend" else []
            output, _ = run(definition, q, k, v, sinks, *more, *PLACES.values(), 0.5)
            for i, (rows, keys) in enumerate(zip(fresh, LENGTHS, strict=True)):
                part, at = slice(int(starts[i]), int(starts[i + 1])), SLOTS[i, :keys]
                heads = [
                    x.transpose(0, 1)[None]
                    for x in (q[part], *(c.flatten(0, 1)[at] for c in (k, v)))
                ]
                mask = torch.ones(rows, keys).tril(keys - rows)
                mask = mask if window < 0 else mask.triu(keys - rows - window)
                expected, _ = eager_attention_forward(layer, *heads, mask.log(), 0.5)
                close(output[part], expected[0])


def rows_of(x: Any) -> Any:
    """Put up projections before gates, which gpt-oss has after them, in turn."""
    return torch.cat([x[:, 1::2], x[:, 0::2]], dim=1)


@case
def trtllm_sinks() -> None:
    """The captured form of the same attention: keys and values side by side, tables of pages."""
    from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward

    sinks = torch.randn(4)
    layer = types.SimpleNamespace(num_key_value_groups=2, sinks=sinks, training=False)
    cache, tables = torch.randn(5, 2, 2, PAGE, 8), torch.tensor([[4, 1], [2, 0]])
    starts, q = torch.tensor([0, 3, 4], dtype=torch.int32), torch.randn(4, 4, 8)
    text = reference("trtllm_paged_sinks", {"WINDOW_LEFT": 2})
    space: dict[str, Any] = {}
    exec(text, space)
    lengths = torch.tensor(LENGTHS)
    common = (cache, tables, lengths, 0.5, 2.0, sinks)
    prefill = space["attention"](q, *common, starts)
    decode = space["attention"](q[[2, 3]], *common)
    for i, (rows, keys) in enumerate(zip((3, 1), LENGTHS, strict=True)):
        part, at = slice(int(starts[i]), int(starts[i + 1])), SLOTS[i, :keys]
        k, v = (cache[:, n].transpose(1, 2).flatten(0, 1)[at] for n in (0, 1))
        heads = [x.transpose(0, 1)[None] for x in (q[part], k, v)]
        mask = torch.ones(rows, keys).tril(keys - rows).triu(keys - rows - 2)
        expected = 2.0 * eager_attention_forward(layer, *heads, mask.log(), 0.5)[0][0]
        close(prefill[part], expected)
        close(decode[i], expected[-1])


@case
def moe_mxfp4() -> None:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors
    from transformers.models.gpt_oss import modeling_gpt_oss as gpt_oss

    sizes = {"num_local_experts": 4, "hidden_size": 64, "intermediate_size": 32}
    said = {"quantization": "mxfp4", "biased": True, "clamp": 7.0, "alpha": 1.702}
    weights = [torch.randint(0, 256, (4, *n), dtype=torch.uint8) for n in ((64, 32), (64, 16))]
    scales = [torch.randint(121, 127, (4, *n), dtype=torch.uint8) for n in ((64, 2), (64, 1))]
    first, second = (
        convert_moe_packed_tensors(w.unflatten(-1, (-1, 16)), s, dtype=torch.float32)
        for w, s in zip(weights, scales, strict=True)
    )
    config = {"intermediate_size": 32, "num_local_experts": 4, "hidden_size": 64}
    layer = gpt_oss.GptOssExperts(types.SimpleNamespace(**config, _experts_implementation="eager"))
    biases = torch.randn(4, 64), torch.randn(4, 64)
    names = ("gate_up_proj", "down_proj", "gate_up_proj_bias", "down_proj_bias")
    for name, value in zip(names, (first, second, *biases), strict=True):
        setattr(layer, name, torch.nn.Parameter(value))
    logits = torch.randn(5, 4)
    top, experts_of = logits.topk(2)
    each = [torch.full((4,), x) for x in (1.702, 1.0, 7.0)]
    codes, steps = torch.randn(5, 64).to(torch.float8_e4m3fn), torch.randint(125, 130, (5, 2))
    for words, x, given in (
        ("bf16", torch.randn(5, 64), []),
        ("mxfp8", codes, [steps.byte()]),
    ):
        call = experts("renormalize", activations=words, **said, **sizes)
        name = f"moe_{words}_mxfp4_block_scale_biased_clamped_renormalize_routing_topk2_e4_h64_i32"
        inputs = (
            *(logits, x, *given, rows_of(weights[0]), rows_of(scales[0]), rows_of(biases[0])),
            *(*each, weights[1], scales[1], biases[1], 0),
        )
        hidden = x.float()
        if given:
            hidden = hidden * torch.exp2(steps - 127.0).repeat_interleave(32, dim=1)
        with torch.no_grad():
            expected = layer(hidden, experts_of, top.softmax(-1))
        found = run(made(call, name), *inputs).float()
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)  # of bfloat16
