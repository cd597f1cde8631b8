"""Mamba-2: one step of the selective state of each request.

FlashInfer's function takes the heads that SGLang passes; its template describes the form without.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from kerneldefs.capture.observe.ops import STATE_SPACE
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.own import OwnTemplate
from kerneldefs.derive.equivalent import (
    I32,
    REQUESTS,
    Equivalent,
    Family,
    Options,
    Underivable,
    fact,
    tensor_of,
)

SLOTS = 8
_CHANNELS = ("batch_size", "nheads", "head_dim")
_STATES = ("state_cache_size", "nheads", "head_dim", "dstate")
_GROUPS = ("batch_size", "ngroups", "dstate")
SSU = OwnTemplate(
    op_type="mamba_ssu",
    name_prefix="mamba_ssu_decode",
    description="One token's update of a Mamba-2 state, and the output; heads share B and C.",
    tags=("stage:decode", "status:unverified"),
    axes={
        "nheads": ("h", "Number of heads on one rank."),
        "head_dim": ("d", "Channels of a head."),
        "dstate": ("s", "Size of the state of a channel."),
        "ngroups": ("ng", "Groups of heads that share B and C."),
        "batch_size": (None, "Number of requests, with one token each."),
        "state_cache_size": (None, "Slots of the state cache."),
    },
    inputs={
        "state": (_STATES, "States of all slots."),
        "x": (_CHANNELS, "Input of the token."),
        "dt": (_CHANNELS, "Time step before its bias."),
        "A": (("nheads", "head_dim", "dstate"), "Decay, negative."),
        "B": (_GROUPS, "How the input enters the state."),
        "C": (_GROUPS, "How the state leaves."),
        "D": (("nheads", "head_dim"), "Factor of the input that passes by the state."),
        "dt_bias": (("nheads", "head_dim"), "Bias of the time step."),
        "state_batch_indices": (("batch_size",), "Slot of each request."),
    },
    outputs={
        "output": (_CHANNELS, None, "Output of the token."),
        "new_state": (_STATES, None, "States after the token."),
    },
    constraints=(),
    reference="mamba_ssu_decode",
)


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    state, x = tensor_of(call, "state"), tensor_of(call, "x")
    if len(state.shape) != 4 or len(x.shape) != 3:
        shapes = f"{list(state.shape)} and {list(x.shape)}"
        raise Underivable("mamba-form", f"{call.layer}: state and input are {shapes}")
    if "z" in call.tensors or "dt_bias" not in call.tensors or "D" not in call.tensors:
        raise Underivable("mamba-form", f"{call.layer}: an update with a gate or without a bias")
    _, heads, dim, size = state.shape
    groups = tensor_of(call, "B").shape[1]
    declared = {
        "state": (SLOTS, heads, dim, size),
        "x": (REQUESTS, heads, dim),
        "dt": (REQUESTS, heads, dim),
        "A": (heads, dim, size),
        "B": (REQUESTS, groups, size),
        "C": (REQUESTS, groups, size),
        "D": (heads, dim),
        "dt_bias": (heads, dim),
    }
    tensors = {key: fact(tensor_of(call, key).dtype, *shape) for key, shape in declared.items()}
    softplus = bool(call.scalars.get("dt_softplus"))
    own = dataclasses.replace(
        SSU, outputs={**SSU.outputs, "new_state": (_STATES, state.dtype, "States after the token.")}
    )
    yield Equivalent(
        name=f"mamba_ssu_decode_h{heads}_d{dim}_s{size}_ng{groups}",
        op_type="mamba_ssu",
        api="flashinfer.mamba.selective_state_update",
        prefix="mamba_ssu_decode",
        tensors={**tensors, "state_batch_indices": fact(I32, REQUESTS)},
        outputs=(tensors["x"], tensors["state"]),
        own=dataclasses.replace(own, constants={"DT_SOFTPLUS": softplus}),
        main="x",
        template=False,
        routed=True,
    )


FAMILY = Family("mamba_ssu", (STATE_SPACE,), _equivalents)
