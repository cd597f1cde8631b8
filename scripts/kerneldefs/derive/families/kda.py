"""Kimi delta attention: a delta rule whose state decays by channel of its keys.

FlashInfer's function takes one token a request and whole sequences; its template has no reference.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from kerneldefs.capture.observe.ops import LINEAR_ATTENTION
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.own import OwnTemplate
from kerneldefs.derive.equivalent import (
    BF16,
    F32,
    I32,
    REQUESTS,
    TOKENS,
    Equivalent,
    Family,
    Options,
    Underivable,
    fact,
)

_HEADS = "Number of {} heads on one rank."
_STATE = ("num_seqs", "num_v_heads", "head_dim", "head_dim")
_ROWS = ("batch_size", "seq_len")
_VALUES = (*_ROWS, "num_v_heads", "head_dim")
PREFILL = OwnTemplate(
    op_type="kda",
    name_prefix="kda_prefill",
    description=(
        "Kimi delta attention over whole sequences that are packed into one row. Queries and keys "
        "are normalised and the gates computed inside. States are [value, key], in bfloat16 as "
        "FlashInfer's kernel keeps them."
    ),
    tags=("stage:prefill", "status:unverified"),
    axes={
        "batch_size": ("", "One row of packed sequences."),
        "seq_len": (None, "Number of tokens of all sequences."),
        "num_seqs": (None, "Number of sequences."),
        "len_cu_seqlens": (None, "Number of sequences + 1."),
        "num_q_heads": ("qk", _HEADS.format("query and key")),
        "num_v_heads": ("v", _HEADS.format("value")),
        "head_dim": ("d", "Head dimension."),
        "gate_dim": ("", "Channels of all value heads."),
    },
    inputs={
        "q": ((*_ROWS, "num_q_heads", "head_dim"), "Queries before they are normalised."),
        "k": ((*_ROWS, "num_q_heads", "head_dim"), "Keys before they are normalised."),
        "v": (_VALUES, "Values."),
        "g": (_VALUES, "Decay of each channel of the keys, before its bias."),
        "beta": ((*_ROWS, "num_v_heads"), "Update gate before the sigmoid."),
        "A_log": (("num_v_heads",), "Logarithm of the decay's rate."),
        "dt_bias": (("gate_dim",), "Bias of the decay."),
        "initial_state": (_STATE, "State before each sequence."),
        "cu_seqlens": (("len_cu_seqlens",), "Where each sequence starts, and the end."),
        "scale": (None, "Factor of the queries."),
    },
    outputs={
        "output": (_VALUES, None, "Output."),
        "final_state": (_STATE, None, "State after each sequence."),
    },
    constraints=("len_cu_seqlens == num_seqs + 1", "seq_len == cu_seqlens[-1].item()"),
    reference="kda_prefill",
)
_SIZES = ("num_q_heads", "num_v_heads", "head_dim", "gate_dim")
DECODE = dataclasses.replace(
    PREFILL,
    name_prefix="kda_decode",
    description=(
        "Kimi delta attention of one token a request. Queries and keys are normalised and the "
        "gates computed inside. States are [value, key], in bfloat16 as FlashInfer's kernel keeps "
        "them."
    ),
    tags=("stage:decode", "status:unverified"),
    axes={
        "batch_size": (None, "Number of requests, with one token each."),
        "seq_len": ("", "One token."),
        **{name: PREFILL.axes[name] for name in _SIZES},
    },
    inputs={
        **{k: v for k, v in PREFILL.inputs.items() if k != "cu_seqlens"},
        "initial_state": (("batch_size", *_STATE[1:]), "State before the token."),
    },
    outputs={
        "output": (_VALUES, None, "Output."),
        "final_state": (("batch_size", *_STATE[1:]), None, "State after the token."),
    },
    constraints=(),
    reference="kda_decode",
)


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    said = call.scalars
    if said["rule"] != "kda":
        return
    if said["head_k_dim"] != said["head_v_dim"] or said["num_q_heads"] != said["num_k_heads"]:
        raise Underivable("head-dims", f"{call.layer}: keys unlike values or queries")
    decode = said["mode"] == "decode"
    qk, v, dim = said["num_q_heads"], said["num_v_heads"], said["head_k_dim"]
    rows = (REQUESTS, 1) if decode else (1, TOKENS)
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("q", "k"), (*rows, qk, dim)),
        **dict.fromkeys(("v", "g"), (*rows, v, dim)),
        "beta": (*rows, v),
    }
    state = fact(BF16, REQUESTS, v, dim, dim)
    tensors = {name: fact(BF16, *shape) for name, shape in shapes.items()}
    tensors |= {"A_log": fact(F32, v), "dt_bias": fact(F32, v * dim), "initial_state": state}
    if not decode:
        tensors["cu_seqlens"] = fact(I32, REQUESTS + 1)
    own = DECODE if decode else PREFILL
    bound = said.get("lower_bound")
    constants: dict[str, Any] = {} if bound is None else {"LOWER_BOUND": float(bound)}
    suffixes = () if bound is None else (f"bound{abs(bound):g}",)
    yield Equivalent(
        name="_".join([own.name_prefix, f"qk{qk}_v{v}_d{dim}", *suffixes]),
        op_type="kda",
        api="flashinfer.kda.recurrent_kda",
        prefix=own.name_prefix,
        tensors=tensors,
        scalars={"scale": 1 / math.sqrt(dim)},
        outputs=(tensors["v"], state),
        own=dataclasses.replace(own, constants=constants),
        suffixes=suffixes,
        main="q",
        template=False,
        routed=decode,  # SGLang 0.5.21 prefills with other kernels
    )


FAMILY = Family("kda", (LINEAR_ATTENTION,), _equivalents)
