"""The true values that small pretended tensors carry, and which parts of them are still true.

A tensor's values are a CPU tensor, its views share memory as the pretended ones do. Where something
that was skipped may have written, that part of the memory is unknown until it is written anew.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    FakeTensor,
    FakeTensorMode,
    in_kernel_invocation_manager,
)

FAKE = FakeTensorMode(allow_non_fake_inputs=True)
CUDA0 = torch.device("cuda:0")
_VALUES = "_known"
_STALE = "_kerneldefs_stale"  # of a storage: byte ranges that something skipped may have written

Range = tuple[int, int]


def carry(tensor: Any, values: torch.Tensor) -> None:
    """Let a pretended tensor carry its values."""
    setattr(tensor, _VALUES, values)


def like(tensor: torch.Tensor, dtype: torch.dtype) -> Any:
    """A pretended tensor with a real one's shape and strides, and no values."""
    with in_kernel_invocation_manager(FAKE):
        out = torch.empty_strided(tensor.shape, tensor.stride(), dtype=dtype, device="meta")
    return FakeTensor(FAKE, out, CUDA0)


def pretended(values: torch.Tensor) -> Any:
    """A pretended tensor that carries `values`."""
    out = like(values, values.dtype)
    carry(out, values)
    return out


def carried(tensor: Any) -> torch.Tensor | None:
    """Return the values of a pretended tensor, true or not: what a view of it shows a part of."""
    values: torch.Tensor | None = getattr(tensor, _VALUES, None)
    if values is None or values.shape != tensor.shape or values.dtype != tensor.dtype:
        return None
    return values


def known(tensor: Any) -> torch.Tensor | None:
    """Return the true values of a pretended tensor, if they are tracked."""
    values = carried(tensor)
    if values is None:
        return None
    stale: list[Range] = getattr(values.untyped_storage(), _STALE, [])
    if stale:
        low, high = _extent(values)
        if any(low < end and start < high for start, end in stale):
            return None
    return values


def forget(value: Any) -> None:
    """Make the values of a pretended tensor, and of what shares its memory, unknown."""
    values = getattr(value, _VALUES, None)
    if values is not None and values.numel():
        storage, extent = values.untyped_storage(), _extent(values)
        setattr(storage, _STALE, [*_without(getattr(storage, _STALE, []), extent), extent])


def renew(value: Any) -> None:
    """Trust the memory of a pretended tensor again: all of it is about to be written."""
    values = getattr(value, _VALUES, None)
    if values is None or not values.is_contiguous():
        return
    storage = values.untyped_storage()
    stale = getattr(storage, _STALE, None)
    if stale:
        setattr(storage, _STALE, _without(stale, _extent(values)))


def _extent(values: torch.Tensor) -> Range:
    """The bytes between a tensor's first and last element."""
    size = values.element_size()
    low = values.storage_offset() * size
    if not values.numel():
        return low, low
    last = sum((n - 1) * stride for n, stride in zip(values.shape, values.stride(), strict=True))
    return low, low + (last + 1) * size


def _without(ranges: list[Range], cut: Range) -> list[Range]:
    low, high = cut
    left = [
        part for start, end in ranges for part in ((start, min(end, low)), (max(start, high), end))
    ]
    return [(start, end) for start, end in left if start < end]
