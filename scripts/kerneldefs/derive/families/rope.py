"""Rotary embeddings from a table of cosines and sines, of both styles, whole or partial heads.

FlashInfer's template flattens the heads, rotates them whole and fixes how many there are; ours has
the dataset's shape, in which the number of heads is open.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from kerneldefs.capture.observe.ops import ROPE
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.own import OwnTemplate
from kerneldefs.derive.equivalent import (
    F32,
    TOKENS,
    Equivalent,
    Family,
    Options,
    Underivable,
    fact,
    tensor_of,
)

_HEADS = "Number of {} heads on one rank."
ROPE_TEMPLATE = OwnTemplate(
    op_type="rope",
    name_prefix="rope_with_cos_sin_cache",
    description="Rotary embedding of queries and keys, from a table of cosines and sines.",
    tags=("status:unverified",),
    axes={
        "num_tokens": (None, "Number of tokens."),
        "num_qo_heads": (None, _HEADS.format("query")),
        "num_kv_heads": (None, _HEADS.format("key")),
        "head_dim": ("d", "Head dimension."),
        "rotary_dim": ("rd", "Elements of a head that are rotated, the first ones."),
        "max_seq_len": (None, "Positions in the table."),
    },
    inputs={
        "q": (("num_tokens", "num_qo_heads", "head_dim"), "Queries."),
        "k": (("num_tokens", "num_kv_heads", "head_dim"), "Keys."),
        "cos_sin_cache": (("max_seq_len", "rotary_dim"), "Cosines, then sines, by position."),
        "positions": (("num_tokens",), "Position of each token."),
    },
    outputs={
        "q_out": (("num_tokens", "num_qo_heads", "head_dim"), None, "Rotated queries."),
        "k_out": (("num_tokens", "num_kv_heads", "head_dim"), None, "Rotated keys."),
    },
    constraints=(),
    reference="rope_cos_sin_cache",
)
_STYLES = {
    True: ("neox", "Pairs are halves of the rotary part."),
    False: ("gptj", "Pairs are neighbours."),
}


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    if call.scalars.get("sections"):
        raise Underivable("rope-sections", f"{call.layer}: positions in several dimensions")
    query, key = tensor_of(call, "query"), tensor_of(call, "key")
    head, rotary = int(call.scalars["head_size"]), int(call.scalars["rotary_dim"])
    table = call.tensors.get("cos_sin_cache")
    style, sentence = _STYLES[bool(call.scalars["is_neox"])]
    heads = [_elements(t.shape) // head for t in (query, key)]
    own = dataclasses.replace(
        ROPE_TEMPLATE,
        name_prefix=f"rope_with_cos_sin_cache_{style}_style",
        description=f"{ROPE_TEMPLATE.description} {sentence}",
        constants={"IS_NEOX": style == "neox"},
    )
    positions = call.tensors.get("positions")
    q, k = (fact(query.dtype, TOKENS, n, head) for n in heads)
    yield Equivalent(
        name=f"rope_with_cos_sin_cache_{style}_style_d{head}_rd{rotary}",
        op_type="rope",
        api="flashinfer.rope.apply_rope_with_cos_sin_cache",
        prefix=own.name_prefix,
        tensors={
            "q": q,
            "k": k,
            "cos_sin_cache": fact(table.dtype if table else F32, 4096, rotary),
            "positions": fact(positions.dtype if positions else "int64", TOKENS),
        },
        outputs=(q, k),
        own=own,
        main="q",
    )


def _elements(shape: tuple[int, ...]) -> int:
    """Return the elements of one token."""
    count = 1
    for size in shape[1:]:
        count *= size
    return count


FAMILY = Family("rope", (ROPE,), _equivalents)
