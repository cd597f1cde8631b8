"""The shapes of frequent operators by their meta kernels alone.

FakeTensorMode settles for every operator which device its result is on, and keys a cache with all
arguments: several times what the meta kernel itself costs, and loading some models takes tens of
thousands of operators. For those listed here, on tensors of the one pretended GPU, the device is
known and FakeTensorMode has no rule of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, in_kernel_invocation_manager

from kerneldefs.capture.simulate.values import CUDA0, FAKE

aten = torch.ops.aten

_ON_TENSORS = {
    aten._softmax.default,
    aten._unsafe_view.default,
    aten.add.Tensor,
    aten.add_.Tensor,
    aten.addmm.default,
    aten.alias.default,
    aten.argmax.default,
    aten.as_strided.default,
    aten.bmm.default,
    aten.cat.default,
    aten.clone.default,
    aten.constant_pad_nd.default,
    aten.copy_.default,
    aten.cumsum.default,
    aten.detach.default,
    aten.div.Tensor,
    aten.div_.Tensor,
    aten.expand.default,
    aten.fill_.Scalar,
    aten.gt.Scalar,
    aten.mm.default,
    aten.mm.dtype,
    aten.mul.Tensor,
    aten.mul_.Tensor,
    aten.numpy_T.default,
    aten.permute.default,
    aten.reciprocal.default,
    aten.reshape.default,
    aten.select.int,
    aten.sigmoid.default,
    aten.slice.Tensor,
    aten.split_with_sizes.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.sub.Tensor,
    aten.t.default,
    aten.transpose.int,
    aten.unsqueeze.default,
    aten.view.default,
    aten.view.dtype,
    aten.zero_.default,
}
_NEW = {
    aten.arange.default,
    aten.arange.start,
    aten.arange.start_step,
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.full.default,
    aten.new_empty.default,
    aten.new_full.default,
    aten.new_zeros.default,
    aten.ones.default,
    aten.ones_like.default,
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
        return _chosen(*args)
    elif func is aten.fill_.Tensor:
        return _filled(*args)
    elif func is aten._to_copy.default:
        if not set(kwargs) <= {"dtype"}:
            return NotImplemented
    elif func not in _ON_TENSORS:
        return NotImplemented
    if not all(_on_gpu(value) for value in _tensors(args)):
        return NotImplemented
    with in_kernel_invocation_manager(FAKE):
        out = func(*args, **kwargs)
    return [_pretended(part) for part in out] if isinstance(out, list) else _pretended(out)


def _tensors(args: Any) -> Iterator[torch.Tensor]:
    """The tensors among an operator's arguments, and in the list that is its first one (cat)."""
    for value in (*args[0], *args[1:]) if args and isinstance(args[0], (list, tuple)) else args:
        if isinstance(value, torch.Tensor):
            yield value


def _pretended(out: Any) -> FakeTensor:
    return out if isinstance(out, FakeTensor) else FakeTensor(FAKE, out, CUDA0)


def _on_gpu(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, FakeTensor) and tensor.fake_device == CUDA0


def _filled(tensor: Any, value: Any) -> Any:
    """The tensor itself, wherever the single value is that it is filled with."""
    return tensor if _on_gpu(tensor) and value.ndim == 0 else NotImplemented


def _chosen(tensor: Any, indices: Any) -> Any:
    """Parts of a contiguous tensor, chosen by number in one dimension: [n, k], [m] -> [n, m]."""
    *whole, index = indices
    if any(part is not None for part in whole):
        return NotImplemented
    if not all(isinstance(value, FakeTensor) and _on_gpu(value) for value in (tensor, index)):
        return NotImplemented
    # A mask's result has its values' length, and a single number's strides are a case of their own.
    if not (index.dtype in _NUMBERS and index.ndim and tensor.is_contiguous()):
        return NotImplemented
    place = len(whole)
    shape = (*tensor.shape[:place], *index.shape, *tensor.shape[place + 1 :])
    with in_kernel_invocation_manager(FAKE):
        out = torch.empty(shape, dtype=tensor.dtype, device=_META)
    return FakeTensor(FAKE, out, CUDA0)
