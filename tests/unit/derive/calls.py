"""Observed calls of small layers, and the definitions and results that come of them."""

from __future__ import annotations

from typing import Any

from kerneldefs.capture.observe import ops
from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.catalogue import Catalogue
from kerneldefs.derive.define import define
from kerneldefs.derive.equivalent import Options, fact
from kerneldefs.derive.registry import equivalents

from .make import config

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
