"""What runs beside attention and sampling, once more: loops and torch's own operators."""

from __future__ import annotations

import torch
from torch.nn.functional import gelu, layer_norm

from kerneldefs.definition.execution.independent import epsilon_of
from kerneldefs.definition.execution.pairs import Definition, Pair, Row, Run, Values
from kerneldefs.definition.execution.products import e4m3, transposed
from kerneldefs.definition.execution.recurrent import append, gdn_decode, gdn_prefill


def rope(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """Pairs of numbers as complex ones, turned by multiplying them with cos + i sin.

    RoFormer, equation 15 (arXiv 2104.09864); neox pairs a half with the other, gptj neighbours.
    """
    table = values["cos_sin_cache"].double()
    width = table.shape[1] // 2
    turns = torch.complex(table[:, :width], table[:, width:])[values["positions"].long()][:, None]
    neox = "_neox_" in definition["name"]
    expected = []
    for name in ("q", "k"):
        part, rest = (
            values[name].double().split([2 * width, values[name].shape[-1] - 2 * width], dim=-1)
        )
        pairs = part.unflatten(-1, (2, width)).mT if neox else part.unflatten(-1, (width, 2))
        turned = torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * turns)
        expected.append(torch.cat([(turned.mT if neox else turned).flatten(-2), rest], dim=-1))
    return [Pair(got, want) for got, want in zip(run(*values.values()), expected, strict=True)]


_BLOCK = 128


def fp8_groups(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """A sum over blocks of 128 columns; each block's product is scaled, not its factors.

    A block's product is summed in float32, all else in float64. Products of two E4M3 numbers have
    8 significant bits, so only adding rounds: a block's error is below 128 * 2^-24 = 8e-6 of the
    sum of its products' sizes. Over K = 16384 normal numbers that sum is 20 times the largest
    output, and all errors together below 1.6e-4 of it, where bfloat16's tolerance is 1e-2. Of the
    numbers that are generated it is 7e-15: their sums fit into float32's 24 bits.
    """
    a, b = values["a"], values["b"]
    rows = torch.arange(b.shape[0]) // _BLOCK
    expected = torch.zeros(a.shape[0], b.shape[0], dtype=torch.float64)
    for block in range(values["a_scale"].shape[1]):
        part = slice(block * _BLOCK, (block + 1) * _BLOCK)
        scales = values["b_scale"].double()[rows, block]
        product = torch.matmul(e4m3(a[:, part]), e4m3(b[:, part]).mT).double()
        expected += product * values["a_scale"].double()[:, block, None] * scales
    return [Pair(run(*values.values())[0], expected)]


def product(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """A times B, batched or not, in float64."""
    expected = torch.matmul(values["A"].double(), values["B"].double())
    return [Pair(run(*values.values())[0], expected)]


def with_bias(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """A times the transpose of B, plus a bias, in float64."""
    expected = transposed(values["A"], values["B"]) + values["bias"].double()
    return [Pair(run(*values.values())[0], expected)]


def gated_gelu(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """GELU of the first half times the second half, for gates from -4 to 4.

    There the two kinds of GELU differ by a tenth, which an absolute tolerance would not show.
    """
    (given,) = values.values()
    gate = torch.linspace(-4, 4, given.numel() // 2).reshape(*given.shape[:-1], -1)
    gate = gate.to(given.dtype)
    up = torch.ones_like(gate) * 1.5
    kind = "tanh" if "_tanh_" in definition["name"] else "none"
    expected = gelu(gate.double(), approximate=kind) * 1.5
    relative = (1e-6, 4 * torch.finfo(given.dtype).eps)
    return [Pair(run(torch.cat([gate, up], dim=-1))[0], expected, tolerance=relative)]


def layers(definition: Definition, values: Values, run: Run) -> list[Pair]:
    """LayerNorm with a weight and a bias."""
    hidden, weight, bias = (values[name].double() for name in ("hidden_states", "weight", "bias"))
    expected = layer_norm(hidden, hidden.shape[-1:], weight, bias, epsilon_of(definition))
    return [Pair(run(*values.values())[0], expected)]


_HEADS = "a loop over tokens and heads in float64"
_ROWS = "a loop over rows"
_GDN = ("q", "k", "v", "state", "A_log", "a", "dt_bias", "b")
_WHERE = ("batch_indices", "positions", "kv_indices", "kv_indptr", "kv_last_page_len")
ROWS = (
    Row(
        r"rope_with_cos_sin_cache_(neox|gptj)_style_d\d+_rd\d+",
        ("q", "k", "cos_sin_cache", "positions"),
        (),
        "complex multiplication in float64",
        rope,
    ),
    Row(
        r"gemm_fp8_nt_groupwise_n\d+_k\d+(_fp16|_fp32)?",
        ("a", "b", "a_scale", "b_scale"),
        (),
        "torch.matmul, block by block, summed in float64",
        fp8_groups,
    ),
    Row(r"(bmm|gemm)_bf16_N\d+_K\d+", ("A", "B"), (), "torch.matmul in float64", product),
    Row(
        r"gemm_n\d+_k\d+(_\w+)?",
        ("A", "B", "bias"),
        (),
        "torch.matmul in float64",
        with_bias,
    ),
    Row(r"gdn_decode_qk\d+_v\d+_d\d+(_kv)?", _GDN, ("scale",), _HEADS, gdn_decode),
    Row(r"gdn_prefill_qk\d+_v\d+_d\d+", (*_GDN, "cu_seqlens"), ("scale",), _HEADS, gdn_prefill),
    Row(
        r"gdn_prefill_gates_.*",
        ("q", "k", "v", "g", "beta", "initial_state", "cu_seqlens"),
        (),
        _HEADS,
        gdn_prefill,
    ),
    Row(
        r"append_paged_kv_cache_.*",
        ("append_key", "append_value"),
        ("k_cache", "v_cache", *_WHERE),
        _ROWS,
        append,
    ),
    Row(
        r"append_paged_mla_kv_cache_.*",
        ("append_ckv", "append_kpe"),
        ("ckv_cache", "kpe_cache", *_WHERE),
        _ROWS,
        append,
    ),
    Row(r"gelu_(tanh_)?and_mul_h\d+", (), ("x", "input"), "torch.nn.functional.gelu", gated_gelu),
    Row(
        r"layernorm_h\d+(_eps[\d.e-]+)?",
        ("hidden_states", "weight", "bias"),
        (),
        "torch.nn.functional.layer_norm",
        layers,
    ),
)
