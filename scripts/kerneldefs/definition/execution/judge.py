"""What a reference's outputs must be, and what it must leave alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

# Where -inf is an answer: the logarithm of an empty sum, and of a probability that is none.
_EMPTY_SUM = re.compile(
    r"(^|_)lse($|_)|log-?sum-?exp|^s_(merged|out)$|masked_logits", re.IGNORECASE
)

Problem = tuple[str, str]  # a kind to count by, and a sentence


def as_outputs(result: Any) -> list[Any]:
    """Return what run() returned as a list."""
    return list(result) if isinstance(result, (tuple, list)) else [result]


def output_problems(
    definition: Mapping[str, Any], axes: Mapping[str, int], outputs: Sequence[Any]
) -> list[Problem]:
    """Compare outputs with what the definition declares: arity, shape, dtype, finite numbers."""
    declared = definition["outputs"]
    if len(outputs) != len(declared):
        return [("arity", f"run returned {len(outputs)} values for {len(declared)} outputs")]
    found: list[Problem] = []
    for (name, spec), value in zip(declared.items(), outputs, strict=True):
        if spec["shape"] is None:
            found += _scalar(name, spec["dtype"], value)
        elif not isinstance(value, torch.Tensor):
            found.append(("type", f"{name} is a {type(value).__name__}, not a tensor"))
        else:
            found += _tensor(name, spec, [axes[dim] for dim in spec["shape"]], value)
    return found


def _scalar(name: str, dtype: str, value: Any) -> list[Problem]:
    kinds = {"b": bool, "i": int}.get(dtype[0], (int, float))
    if isinstance(value, torch.Tensor):
        value = value.item() if value.dim() == 0 else value
    if not isinstance(value, kinds):
        return [("type", f"{name} is a {type(value).__name__}, not a scalar {dtype}")]
    return []


def _tensor(name: str, spec: Mapping[str, Any], shape: list[int], value: Any) -> list[Problem]:
    found: list[Problem] = []
    dtype = str(value.dtype).removeprefix("torch.")
    if list(value.shape) != shape:
        dims = ", ".join(spec["shape"])
        found.append(("shape", f"{name} is {list(value.shape)}, declared [{dims}] = {shape}"))
    if dtype.removesuffix("fn_x2") != spec["dtype"] and dtype != spec["dtype"]:
        found.append(("dtype", f"{name} is {dtype}, declared {spec['dtype']}"))
    if value.is_floating_point() and value.dtype != torch.float4_e2m1fn_x2:
        found += _finite(name, spec, value.float())
    return found


def _finite(name: str, spec: Mapping[str, Any], value: Any) -> list[Problem]:
    if torch.isnan(value).any():
        return [("nan", f"{name} has NaN in it")]
    empty_sum = _EMPTY_SUM.search(name) or _EMPTY_SUM.search(spec.get("description") or "")
    infinite = torch.isposinf(value) if empty_sum else torch.isinf(value)
    return [("inf", f"{name} has infinities in it")] if infinite.any() else []


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names of the inputs whose bytes, shape or dtype are no longer what they were."""
    return [name for name in before if not same(before[name], after[name])]


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same to the bit, NaN included."""
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return type(one) is type(other) and bool(one == other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    found = [_bytes(one), _bytes(other)]
    if all(len(x) % 8 == 0 and x.storage_offset() % 8 == 0 for x in found):
        found = [x.view(torch.int64) for x in found]  # compared six times as fast as bytes
    return bool(torch.equal(*found))


def _bytes(tensor: Any) -> Any:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
