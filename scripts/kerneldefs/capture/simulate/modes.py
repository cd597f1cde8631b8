"""Entering the pretence: the modes that every tensor operation of the process goes through."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode

from kerneldefs.capture.simulate.tensors import PretendedCuda, on_cuda
from kerneldefs.capture.simulate.values import CUDA0


def _first_device(value: Any) -> Any:
    """Every CUDA device of the pretended rank is its first."""
    if isinstance(value, torch.device) and value.type == "cuda":
        return CUDA0
    if isinstance(value, str) and value.startswith("cuda"):
        return CUDA0
    return value


class PretendedDevice(TorchFunctionMode):  # type: ignore[misc]
    """Turns device arguments into the one pretended device, and pinned memory into plain memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not kwargs and getattr(func, "__name__", "") == "__get__":  # shape, dtype, ...
            return func(*args)
        kwargs = dict(kwargs or {})
        if func is torch.device:
            return func(*args, **kwargs)
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        device = kwargs.get("device")
        if device is not None:
            kwargs["device"] = CUDA0 if isinstance(device, int) else _first_device(device)
        args = tuple(_first_device(a) for a in args)
        if func is torch.Tensor.new_tensor and args[0].device.type == "cuda":
            # Takes the new tensor for one on the meta device, which a pretended tensor is below.
            like, *data = args
            func, args = torch.tensor, tuple(data)
            kwargs = {"dtype": like.dtype, "device": like.device, **kwargs}
        from_data = func in (torch.tensor, torch.as_tensor, torch.asarray)
        if from_data and not (args and isinstance(args[0], torch.Tensor)):
            device = kwargs.pop("device", None)
            out = func(*args, **kwargs)
            return out.to(device) if on_cuda(device) else out
        if func is torch.Tensor.cuda:
            return args[0].to(CUDA0)
        if func is torch.Tensor.cpu:
            return args[0].to("cpu")
        return func(*args, **kwargs)


def install() -> tuple[PretendedCuda, PretendedDevice]:
    """Enter both modes for the rest of the process."""
    real_data_ptr = torch.Tensor.data_ptr
    addresses = itertools.count(1 << 20)

    def data_ptr(self: torch.Tensor) -> int:
        if not isinstance(self, FakeTensor):
            return int(real_data_ptr(self))
        if "_address" not in self.__dict__:
            self.__dict__["_address"] = next(addresses) << 12  # page-aligned, as an allocator's
        return int(self.__dict__["_address"])

    torch.Tensor.data_ptr = data_ptr
    FakeTensor.data_ptr = data_ptr
    modes = PretendedCuda(), PretendedDevice()
    for mode in modes:
        mode.__enter__()
    return modes
