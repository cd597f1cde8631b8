"""Every const axis held against what the call showed and against what the model predicts.

The definition has its sizes from a repaired dump. Here they are read again from the call alone
(`observed`: plan(), arguments, inputs, outputs), and from config.json and the serving config
(`predicted`), neither of which knows the dump. Whatever disagrees must not be staged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from kerneldefs.capture.record import KernelCall, TensorFact
from kerneldefs.definition.draft import SAME_BYTES, Draft, Quarantine, const_axes
from kerneldefs.definition.evidence import Evidence
from kerneldefs.definition.roles import role_of
from kerneldefs.serving.ranksizes import RankSizes

# Axis -> the names under which plan() and an API's own arguments say its size
# (flashinfer-python 0.6.18). An axis of the same name as an argument needs no row.
_SAID: dict[str, tuple[str, ...]] = {
    "head_dim": ("head_dim", "head_dim_qk"),
    "num_local_experts": ("local_num_experts",),
    "num_qo_heads": ("num_qo_heads", "num_heads"),
    "num_routed_experts": ("num_experts",),
    "padded_hidden_size": ("hidden_size",),
    "padded_intermediate_size": ("intermediate_size",),
}

Seen = dict[str, dict[str, int]]  # axis -> {where it was seen: its size there}


def observed(definition: Draft, call: KernelCall, evidence: Evidence | None = None) -> Seen:
    """Return what plan(), the arguments, the inputs and the outputs of a call say of const axes.

    Evidence tells which argument carries an input; without it they have the same names.
    """
    seen: Seen = {axis: {} for axis in const_axes(definition)}
    for axis, where, size in _said(definition, call):
        seen[axis][where] = size
    for name, spec, fact in _inputs(definition, call, evidence):
        _add(seen, f"input {name}", spec, fact)
    if len(call.outputs) == len(definition["outputs"]):
        pairs = zip(definition["outputs"].items(), call.outputs, strict=True)
        for (name, spec), fact in pairs:
            _add(seen, f"output {name}", spec, fact)
    return seen


def _said(definition: Draft, call: KernelCall) -> Iterator[tuple[str, str, int]]:
    for axis in const_axes(definition):
        for word in _SAID.get(axis, (axis,)):
            for where, words in (("plan", call.plan or {}), ("argument", call.scalars)):
                value = words.get(word)
                if isinstance(value, int) and not isinstance(value, bool):
                    yield axis, f"{where} {word}", value


def _add(seen: Seen, where: str, spec: Mapping[str, Any], fact: TensorFact) -> None:
    dims = spec["shape"]
    if dims is None or len(dims) != len(fact.shape):
        return  # a scalar, or memory that the definition views otherwise
    for dim, size in zip(dims, fact.shape, strict=True):
        if dim in seen:
            seen[dim][where] = size


def _inputs(
    definition: Draft, call: KernelCall, evidence: Evidence | None
) -> Iterator[tuple[str, Mapping[str, Any], TensorFact]]:
    """Each input that a tensor of the call carries: its name, what is declared, the tensor."""
    for name, spec in definition["inputs"].items():
        fact = evidence.of(name).tensor if evidence else call.tensors.get(name)
        if fact is not None:
            yield name, spec, fact


def require(
    definition: Draft,
    call: KernelCall,
    evidence: Evidence | None = None,
    predicted: RankSizes | None = None,
) -> None:
    """Raise `Quarantine` where a const axis is not what the call or the model says.

    The reason names both. An axis that nothing in the call shows is not known to be true either.
    """
    seen = observed(definition, call, evidence)
    roles = predicted.roles() if predicted else {}
    for axis, size in const_axes(definition).items():
        role = role_of(definition["op_type"], axis)
        expected = roles.get(role or "", frozenset())
        wrong = any(value != size for value in seen[axis].values())
        if wrong or (expected and size not in expected):
            cause = "axis-observed" if wrong else "axis-predicted"
            raise Quarantine(cause, _sentence(axis, size, seen[axis], role, expected))
    for sentence in _other_dtypes(definition, call, evidence):
        raise Quarantine("dtype-observed", sentence)
    for sentence in _misfits(definition, call, evidence):
        raise Quarantine("axis-observed", sentence)
    unseen = [axis for axis in seen if not seen[axis]]
    if unseen:
        raise Quarantine(
            "axis-unseen", f"nothing in the call of {call.op} shows {', '.join(unseen)}"
        )


def _sentence(
    axis: str, size: int, seen: Mapping[str, int], role: str | None, expected: frozenset[int]
) -> str:
    found = ", ".join(f"{value} ({where})" for where, value in sorted(seen.items()))
    if not expected:
        model = "no formula of the model predicts it"
    else:
        sizes = " or ".join(map(str, sorted(expected)))
        model = f"config.json and the serving config predict {sizes} as {role}"
    return f"axis {axis} is {size}; the call shows {found or 'nothing of it'}; {model}"


def _other_dtypes(definition: Draft, call: KernelCall, evidence: Evidence | None) -> Iterator[str]:
    """Yield a sentence for each input and output that has another dtype than the call's tensor."""
    pairs = [(f"input {n}", spec, fact) for n, spec, fact in _inputs(definition, call, evidence)]
    if len(call.outputs) == len(definition["outputs"]):
        outputs = zip(definition["outputs"].items(), call.outputs, strict=True)
        pairs += [(f"output {name}", spec, fact) for (name, spec), fact in outputs]
    for where, spec, fact in pairs:
        if spec["dtype"] not in (fact.dtype, SAME_BYTES.get(fact.dtype)):
            yield f"{where} is declared {spec['dtype']}, the call shows {fact.dtype}"


def _misfits(definition: Draft, call: KernelCall, evidence: Evidence | None) -> Iterator[str]:
    """Yield a sentence for each input whose elements its const axes do not divide.

    It is what can be said of a cache that has another rank in the call than in the definition.
    """
    const = const_axes(definition)
    for name, spec, fact in _inputs(definition, call, evidence):
        if spec["shape"] is None or len(spec["shape"]) == len(fact.shape):
            continue
        unit = math.prod(const.get(dim, 1) for dim in spec["shape"])
        if math.prod(fact.shape) % unit:
            yield f"input {name} of {list(fact.shape)} is no multiple of {spec['shape']}"
