"""A definition while it is being repaired: plain JSON data, and the words the dataset knows."""

from __future__ import annotations

from typing import Any

# FlashInfer's JSON with everything it may still get wrong; a definition once the checks pass.
Draft = dict[str, Any]

# flashinfer_bench.data.Definition (flashinfer-bench 0.1.2): its keys and its DType values.
KEYS = (
    "name",
    "description",
    "op_type",
    "tags",
    "axes",
    "constraints",
    "inputs",
    "outputs",
    "reference",
)
AXIS_KEYS = ("type", "value", "description")
TENSOR_KEYS = ("shape", "dtype", "description")
DTYPES = frozenset(
    [
        "float32",
        "float16",
        "bfloat16",
        "float8_e4m3fn",
        "float8_e5m2",
        "float4_e2m1",
        "int64",
        "int32",
        "int16",
        "int8",
        "bool",
    ]
)

# Dtypes that kernels use and the dataset lacks, with the one that carries the same bytes. Packed
# FP4 is int8 as well, not float4_e2m1: torch 2.13 can neither fill nor convert a float4_e2m1fn_x2
# tensor, so a definition that declared one could not be run by flashinfer-bench.
SAME_BYTES = {"uint8": "int8", "uint32": "int32"}


class Quarantine(Exception):
    """A call whose definition must not be staged: a cause id to count by, and a sentence."""

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(f"{cause}: {reason}")
        self.cause = cause
        self.reason = reason


def copied(draft: Draft) -> Draft:
    """Return a deep copy, so that a step never changes what it was given."""
    return {key: _copied(value) for key, value in draft.items()}


def _copied(value: Any) -> Any:
    """A JSON value anew: copy.deepcopy takes twice as long, in each of twenty steps."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def tensors(draft: Draft) -> list[tuple[str, dict[str, Any]]]:
    """Return inputs and outputs in order, by name."""
    return [*draft["inputs"].items(), *draft["outputs"].items()]


def used_axes(draft: Draft) -> list[str]:
    """Return the axes that tensor shapes name, in order of first use."""
    return list(dict.fromkeys(dim for _, spec in tensors(draft) for dim in spec["shape"] or ()))


def const_axes(draft: Draft) -> dict[str, int]:
    """Return the constant axes that have a value."""
    return {
        name: axis["value"]
        for name, axis in draft["axes"].items()
        if axis["type"] == "const" and axis.get("value") is not None
    }


def ordered(draft: Draft) -> Draft:
    """Return the draft with the dataset's key order, which the staged files keep."""
    return {key: draft[key] for key in KEYS if key in draft}
