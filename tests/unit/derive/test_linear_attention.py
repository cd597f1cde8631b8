"""Kimi delta attention as definitions, held against a loop with one matrix a head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from kerneldefs.capture.observe import ops
from kerneldefs.capture.record import KernelCall

from .calls import made, run, seen

HEADS, DIM = 2, 4


def kda(mode: str, **said: object) -> KernelCall:
    """Return a call of two heads of four channels."""
    heads = dict.fromkeys(("num_q_heads", "num_k_heads", "num_v_heads"), HEADS)
    dims = dict.fromkeys(("head_k_dim", "head_v_dim"), DIM)
    return seen(ops.LINEAR_ATTENTION, {}, rule="kda", mode=mode, **heads, **dims, **said)


def given(tokens: int) -> list[torch.Tensor]:
    """Return q, k, v, g, beta of a row of tokens, A_log and dt_bias."""
    rows = [torch.randn(1, tokens, HEADS, DIM) for _ in range(4)]
    return [*rows, torch.randn(1, tokens, HEADS), torch.randn(HEADS), torch.randn(HEADS * DIM)]


def expected(
    inputs: list[torch.Tensor], state: torch.Tensor, bound: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a sequence's output and last state; the state is S = S (D - beta D k k') + beta v k'.

    Equation 1 of arXiv 2510.26692 (Kimi Linear), with D = diag(decay) and the state transposed.
    """
    q, k, v, g, beta, rate, bias = (x.double() for x in inputs)
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    output, state = torch.zeros_like(v), state.double().clone()
    for t in range(q.shape[1]):
        for h in range(HEADS):
            raw = g[0, t, h] + bias.view(HEADS, DIM)[h]
            logarithm = -rate[h].exp() * F.softplus(raw)
            if bound:
                logarithm = bound * (rate[h].exp() * raw).sigmoid()
            decay, update, key = logarithm.exp().diag(), beta[0, t, h].sigmoid(), k[0, t, h]
            state[h] = state[h] @ (decay - update * decay @ torch.outer(key, key))
            state[h] += update * torch.outer(v[0, t, h], key)
            output[0, t, h] = 0.5 * state[h] @ q[0, t, h]
    return output, state


def test_prefill_goes_on_from_each_sequences_state() -> None:
    definition = made(kda("extend"), "kda_prefill_qk2_v2_d4")
    inputs, state = given(5), torch.randn(2, HEADS, DIM, DIM)
    found = run(definition, *inputs, state, torch.tensor([0, 3, 5]), 0.5)
    for i, part in enumerate((slice(0, 3), slice(3, 5))):
        some = [x[:, part] if x.ndim > 2 else x for x in inputs]
        output, last = expected(some, state[i])
        torch.testing.assert_close(found[0][:, part].double(), output, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found[1][i].double(), last, rtol=1e-4, atol=1e-4)


def test_decode_with_a_bounded_decay() -> None:
    definition = made(kda("decode", lower_bound=-5.0), "kda_decode_qk2_v2_d4_bound5")
    inputs, state = given(3), torch.randn(3, HEADS, DIM, DIM)
    rows = [x.transpose(0, 1) if x.ndim > 2 else x for x in inputs]
    found = run(definition, *rows, state, 0.5)
    for i in range(3):
        some = [x[:, i : i + 1] if x.ndim > 2 else x for x in inputs]
        output, last = expected(some, state[i], bound=-5.0)
        torch.testing.assert_close(found[0][i].double(), output[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found[1][i].double(), last, rtol=1e-4, atol=1e-4)
    assert "fi_api:flashinfer.kda.recurrent_kda" in definition["tags"]
