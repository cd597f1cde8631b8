"""What a definition computes, whatever its names: equal signatures are one kernel.

The function comes from the name's words (family, variant, stage, mask, routing, activation), with
FlashInfer's and the dataset's words for the same thing brought together by aliases.json. Epsilon
comes from the reference, and so do a factor and an activation that it fixes. Sizes go by role and
tensors by shape and dtype, so that axes, inputs and outputs may have any name. What no rule knows
stays as it is, so two kernels are never taken for one because a word was not understood.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerneldefs.definition.draft import Draft, Quarantine, const_axes
from kerneldefs.definition.naming import size_in
from kerneldefs.definition.roles import sizes_by_role
from kerneldefs.definition.source import constants
from kerneldefs.definition.variants import EPSILON, number
from kerneldefs.files import canonical_json

ALIASES = Path(__file__).with_name("aliases.json")
_EPSILON_WORD = re.compile(r"eps([0-9.]+(?:e-?\d+)?)(?![0-9A-Za-z])")
# Constants of references (definition/references/), and the values that change nothing.
_FIXED: dict[str, object] = {"ACTIVATION": "silu", "LOWER_BOUND": 0.0, "SCALING": 1.0}
# Axes whose size follows from others: some templates declare them, others do not.
_FOLLOWS = re.compile(r"_blocks$|_div_|_mul_|_out_size$|packed")


@functools.cache
def _aliases() -> list[tuple[re.Pattern[str], str]]:
    rows = json.loads(ALIASES.read_text(encoding="utf-8"))
    return [(re.compile(row["name"]), row["alias"]) for row in rows]


def names_of(name: str) -> list[str]:
    """Return a definition's name and the names that a dataset may have it under."""
    matched = [(pattern.fullmatch(name), alias) for pattern, alias in _aliases()]
    return [name, *(match.expand(alias) for match, alias in matched if match)]


def signature(definition: Draft) -> str:
    """Return the signature as JSON text; never raises for a definition that fits the schema.

    Tags, descriptions, constraints and the reference's text are no part of it.
    """
    const = const_axes(definition)
    sizes = {axis: size for axis, size in const.items() if not _FOLLOWS.search(axis)}
    inputs = [_tensor(const, spec) for spec in definition["inputs"].values()]
    outputs = [_tensor(const, spec) for spec in definition["outputs"].values()]
    return canonical_json(
        {
            "function": function_words(definition["name"], set(const.values())),
            "epsilon": _epsilon(definition),
            "fixed": _fixed(definition),
            "sizes": sizes_by_role(definition["op_type"], sizes),
            "inputs": sorted(inputs),
            "outputs": outputs,
        },
        indent=None,
    )


def function_words(name: str, sizes: set[int]) -> str:
    """Return the words of a name that say what is computed, in the dataset's dialect.

    >>> function_words("gqa_ragged_h32_kv8_d128", {32, 8, 128})
    'gqa_ragged_prefill_causal'
    """
    words = _EPSILON_WORD.sub("", names_of(name)[-1]).split("_")
    return "_".join(word for word in words if word and size_in(word) not in sizes)


def _epsilon(definition: Draft) -> str | None:
    """The reference's epsilon, else the name's; None where neither has one."""
    try:
        fixed = constants(definition["reference"], EPSILON)
    except Quarantine:
        fixed = ()
    if fixed:
        return " ".join(number(v) if isinstance(v, float) else str(v) for v in fixed)
    word = _EPSILON_WORD.search(definition["name"])
    return word[1] if word else None


def _fixed(definition: Draft) -> dict[str, str]:
    """What a reference of ours fixes and no name says, where it changes what is computed."""
    try:
        found = {name: constants(definition["reference"], name) for name in _FIXED}
    except Quarantine:
        return {}
    return {name: repr(v) for name, v in found.items() if v and v != (_FIXED[name],)}


def _tensor(const: Mapping[str, int], spec: Mapping[str, Any]) -> str:
    """A tensor's dtype and shape, a var axis as any size: bfloat16[*, 32, 128]."""
    if spec["shape"] is None:
        return str(spec["dtype"])
    dims = ", ".join(str(const.get(axis, "*")) for axis in spec["shape"])
    return f"{spec['dtype']}[{dims}]"
