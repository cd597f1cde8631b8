"""The shapes of frequent operators by their meta kernels alone.

FakeTensorMode settles for every operator which device its result is on, and keys a cache with all
arguments: several times what the meta kernel itself costs, and loading some models takes tens of
thousands of operators. For those listed here, on tensors of the one pretended GPU, the device is
known and FakeTensorMode has no rule of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, in_kernel_invocation_manager

from kerneldefs.capture.simulate.values import CUDA0, FAKE

aten = torch.ops.aten

_ON_TENSORS = {
    aten.add.Tensor,
    aten.alias.default,
    aten.as_strided.default,
    aten.clone.default,
    aten.copy_.default,
    aten.detach.default,
    aten.expand.default,
    aten.fill_.Scalar,
    aten.mm.default,
    aten.mul.Tensor,
    aten.permute.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.squeeze.dim,
    aten.t.default,
    aten.transpose.int,
    aten.unsqueeze.default,
    aten.view.default,
    aten.view.dtype,
    aten.zero_.default,
}
_NEW = {
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.full.default,
    aten.new_empty.default,
    aten.ones.default,
    aten.zeros.default,
    aten.zeros_like.default,
}
_NUMBERS = {torch.int32, torch.int64}
_META = torch.device("meta")


def run(func: Any, args: Any, kwargs: Any) -> Any:
    """Return an operator's result, or NotImplemented where FakeTensorMode has to tell it."""
    if func in _NEW:
        device = kwargs.get("device")
        if device is not None and device.type != "cuda":
            return NotImplemented
        kwargs = {**kwargs, "device": _META}
    elif func is aten.index.Tensor:
        return _rows(*args)
    elif func is aten._to_copy.default:
        if not set(kwargs) <= {"dtype"}:
            return NotImplemented
    elif func not in _ON_TENSORS:
        return NotImplemented
    if not all(_on_gpu(value) for value in args if isinstance(value, torch.Tensor)):
        return NotImplemented
    with in_kernel_invocation_manager(FAKE):
        out = func(*args, **kwargs)
    return out if isinstance(out, FakeTensor) else FakeTensor(FAKE, out, CUDA0)


def _on_gpu(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, FakeTensor) and tensor.fake_device == CUDA0


def _rows(tensor: Any, indices: Any) -> Any:
    """Rows of a contiguous tensor, chosen by number: [n, ...] and [m] -> [m, ...]."""
    index: Any = indices[0] if len(indices) == 1 else None
    chosen = (tensor, index)
    if not all(isinstance(value, FakeTensor) and _on_gpu(value) for value in chosen):
        return NotImplemented
    if not (index.dtype in _NUMBERS and tensor.ndim and tensor.is_contiguous()):
        return NotImplemented  # a mask's result has its values' length
    shape = (*index.shape, *tensor.shape[1:])
    with in_kernel_invocation_manager(FAKE):
        out = torch.empty(shape, dtype=tensor.dtype, device=_META)
    return FakeTensor(FAKE, out, CUDA0)
