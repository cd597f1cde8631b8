"""Linear attention with a gated delta rule: one token a request, prefill, and several tokens."""

from __future__ import annotations

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
    I64,
    MTP,
    REQUESTS,
    TOKENS,
    Equivalent,
    Family,
    Options,
    Underivable,
    fact,
)

_HEADS = "Number of {} heads on one rank."
_STATE = ("num_seqs", "num_v_heads", "head_size", "head_size")
PREFILL = OwnTemplate(
    op_type="gdn",
    name_prefix="gdn_prefill",
    description=(
        "Gated delta rule over whole sequences, with the computation of its gates, which "
        "FlashInfer's function takes ready made. States are [value, key]."
    ),
    tags=("stage:prefill", "status:unverified"),
    axes={
        "total_seq_len": (None, "Number of tokens of all sequences."),
        "num_seqs": (None, "Number of sequences."),
        "len_cu_seqlens": (None, "Number of sequences + 1."),
        "num_q_heads": ("qk", _HEADS.format("query")),
        "num_k_heads": ("", _HEADS.format("key")),
        "num_v_heads": ("v", _HEADS.format("value")),
        "head_size": ("d", "Head dimension."),
    },
    inputs={
        "q": (("total_seq_len", "num_q_heads", "head_size"), "Queries, normalised."),
        "k": (("total_seq_len", "num_k_heads", "head_size"), "Keys, normalised."),
        "v": (("total_seq_len", "num_v_heads", "head_size"), "Values."),
        "state": (_STATE, "State before each sequence."),
        "A_log": (("num_v_heads",), "Logarithm of the decay's rate."),
        "a": (("total_seq_len", "num_v_heads"), "Decay before its bias."),
        "dt_bias": (("num_v_heads",), "Bias of the decay."),
        "b": (("total_seq_len", "num_v_heads"), "Update gate before the sigmoid."),
        "cu_seqlens": (("len_cu_seqlens",), "Where each sequence starts, and the end."),
        "scale": (None, "Factor of the queries."),
    },
    outputs={
        "output": (("total_seq_len", "num_v_heads", "head_size"), None, "Output."),
        "new_state": (_STATE, "float32", "State after each sequence."),
    },
    constraints=("len_cu_seqlens == num_seqs + 1", "total_seq_len == cu_seqlens[-1].item()"),
    reference="gdn_prefill",
)
_DRAFTED = 4  # tokens a request, where several are verified at once


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    said = call.scalars
    if said["rule"] != "gdn":
        return  # the family of Kimi's rule
    if said["head_k_dim"] != said["head_v_dim"]:
        raise Underivable("head-dims", f"{call.layer}: keys and values of different head dims")
    qk, v, dim = said["num_q_heads"], said["num_v_heads"], said["head_k_dim"]
    name = f"qk{qk}_v{v}_d{dim}"
    dtype = call.tensors["dt_bias"].dtype if "dt_bias" in call.tensors else F32
    fixed = {"A_log": fact(F32, v), "dt_bias": fact(dtype, v)}
    scalars: dict[str, Any] = {"scale": 1 / math.sqrt(dim)}

    def rows(*lead: int) -> dict[str, Any]:
        heads = {"q": qk, "k": said["num_k_heads"], "v": v}
        return {key: fact(BF16, *lead, count, dim) for key, count in heads.items()}

    state = fact(F32, REQUESTS, v, dim, dim)
    if said["mode"] == "decode":
        gate = fact(BF16, REQUESTS, 1, v)
        yield Equivalent(
            name=f"gdn_decode_{name}",
            op_type="gdn",
            api="flashinfer.gdn_decode.gated_delta_rule_decode_pretranspose",
            prefix="gdn_decode",
            tensors={**rows(REQUESTS, 1), "state": state, **fixed, "a": gate, "b": gate},
            scalars={**scalars, "use_qk_l2norm": False},
            outputs=(fact(BF16, REQUESTS, 1, v, dim), state),
            routed=True,
        )
        return
    gate = fact(BF16, TOKENS, v)
    yield Equivalent(
        name=f"gdn_prefill_{name}",
        op_type="gdn",
        api="flashinfer.gdn_prefill.chunk_gated_delta_rule",
        prefix="gdn_prefill",
        tensors={
            **rows(TOKENS),
            "state": state,
            **fixed,
            "a": gate,
            "b": gate,
            "cu_seqlens": fact(I64, REQUESTS + 1),
        },
        scalars=scalars,
        outputs=(fact(BF16, TOKENS, v, dim), state),
        own=PREFILL,
        main="q",
        template=False,
        routed=True,
    )
    if MTP in options.variants:
        gate = fact(BF16, REQUESTS, _DRAFTED, v)
        output = fact(BF16, REQUESTS, _DRAFTED, v, dim)
        yield Equivalent(
            name=f"gdn_mtp_{name}",
            op_type="gdn",
            api="flashinfer.gdn_decode.gated_delta_rule_mtp",
            prefix="gdn_mtp",
            tensors={
                **rows(REQUESTS, _DRAFTED),
                "initial_state": state,
                "initial_state_indices": fact(I32, REQUESTS),
                **fixed,
                "a": gate,
                "b": gate,
            },
            scalars={**scalars, "use_qk_l2norm": False},
            outputs=(output, state),
            variant=MTP,
            routed=True,
        )


FAMILY = Family("gdn", (LINEAR_ATTENTION,), _equivalents)
