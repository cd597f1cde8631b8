"""Linear attention with a gated delta rule: one token a request, prefill, and several tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from kerneldefs.capture.observe.ops import LINEAR_ATTENTION
from kerneldefs.capture.record import KernelCall
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

_DRAFTED = 4  # tokens a request, where several are verified at once


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    said = call.scalars
    if said["rule"] != "gdn":
        raise Underivable(
            "no-reference", f"{call.layer}: FlashInfer's KDA template computes nothing"
        )
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
            "initial_state": state,
            **fixed,
            "g": gate,
            "beta": gate,
            "cu_seqlens": fact(I64, REQUESTS + 1),
        },
        scalars=scalars,
        outputs=(fact(BF16, TOKENS, v, dim), state),
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
