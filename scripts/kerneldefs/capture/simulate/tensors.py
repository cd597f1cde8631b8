"""Pretended CUDA tensors: shapes and dtypes without storage, and real values where they are small.

CUDA tensors are FakeTensors. Small ones also carry a CPU tensor with their true values ("known"),
so that control flow which reads a tensor (`.item()`, `.tolist()`, `.cpu()`) goes the way of a GPU
run. Where a value is asked for that nothing knows, the ledger notes a guess.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from kerneldefs.capture.simulate import direct
from kerneldefs.capture.simulate.ledger import LEDGER
from kerneldefs.capture.simulate.value_shaped import VALUE_SHAPED, exact_shape, guess_shape
from kerneldefs.capture.simulate.values import (
    FAKE,
    carried,
    carry,
    forget,
    known,
    like,
    pretended,
    renew,
)

aten = torch.ops.aten
DEVICE_OF = torch.ops.prim.device.default  # how a pretended tensor answers `.device`: often

# Elements up to which values are tracked. Integers steer control flow (lengths, page tables, expert
# maps), floating point values hardly ever do.
_KNOWN_INTEGERS = 1 << 20
_KNOWN_FLOATS = 1 << 16

PYTHON_OPS: dict[str, Callable[..., Any]] = {}  # custom ops with a Python body: run the body
COMPILED_OPS: dict[str, Callable[..., Any]] = {}  # compiled ops that return tensors: their shapes
COMPILED_NAMESPACES = {"sgl_kernel"}

Read = Callable[[Any], torch.Tensor | None]  # how an operator's arguments are read
_OVERWRITES = {aten.copy_.default, aten.fill_.Scalar, aten.fill_.Tensor, aten.zero_.default}

_RANDOM_FILLS = {
    f"aten::{kind}_" for kind in ("uniform", "normal", "exponential", "random", "bernoulli")
}


def _small(tensor: torch.Tensor) -> bool:
    floating = tensor.dtype.is_floating_point or tensor.dtype.is_complex
    return bool(tensor.numel() <= (_KNOWN_FLOATS if floating else _KNOWN_INTEGERS))


def on_cuda(device: Any) -> bool:
    if device is None:
        return False
    return isinstance(device, int) or bool(torch.device(device).type == "cuda")


def _fakes(values: Iterable[Any]) -> list[Any]:
    """The pretended tensors among an operator's arguments or results, lists of them included.

    Written out, for it runs on every operator and a pytree walk would cost more than most of them.
    """
    found: list[Any] = []
    for value in values:
        if isinstance(value, FakeTensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(_fakes(value))
    return found


class PretendedCuda(TorchDispatchMode):  # type: ignore[misc]
    """Carries out operators on pretended CUDA tensors; CPU tensors stay what they are."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled; hiding from the compiler costs as much as an operator

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is DEVICE_OF and isinstance(args[0], FakeTensor):
            return args[0].fake_device
        kwargs = dict(kwargs or {})
        name = func._schema.name
        if name in PYTHON_OPS:
            with self:
                return PYTHON_OPS[name](*args, **kwargs)
        if name in COMPILED_OPS or name.split("::")[0] in COMPILED_NAMESPACES:
            return self._compiled(func, name, args, kwargs)
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        if kwargs.get("generator") is not None:
            kwargs["generator"] = None
        if name == "aten::to":
            with self:
                return func.decompose(*args, **kwargs)
        fakes = _fakes((args, tuple(kwargs.values())))
        if not fakes and not on_cuda(kwargs.get("device")):
            return func(*args, **kwargs)
        for fake in fakes:
            fake.constant = None  # FakeTensorMode's own value tracking would shadow ours
        special = _SPECIAL.get(func)
        if special is not None:
            result = special(func, args, kwargs)
            if result is not NotImplemented:
                return result
        if name in _RANDOM_FILLS:
            return _random_fill(args[0])
        if func in _OVERWRITES and all(known(fake) is not None for fake in _fakes(args[1:])):
            renew(args[0])
        read = carried if func.is_view else known
        complete = all(read(fake) is not None for fake in fakes)
        if not complete:
            for written in _written(func, args, kwargs):
                forget(written)
        return _run(func, name, args, kwargs, read if complete else None)

    def _compiled(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        LEDGER.skip("compiled op", name)
        for written in _written(func, args, kwargs):
            forget(written)
        shapes = COMPILED_OPS.get(name)
        if shapes is not None:
            with self:
                return shapes(*args, **kwargs)
        if not func._schema.returns:
            return None
        raise NotImplementedError(
            f"compiled op {func._schema} returns values and nothing here says which; "
            "add its shapes to kerneldefs/capture/simulate/kernels.py"
        )


@functools.cache
def _written_places(func: Any) -> tuple[tuple[int, str], ...]:
    """Which arguments an operator writes to, by its schema."""
    return tuple(
        (place, argument.name)
        for place, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )


def _written(func: Any, args: Any, kwargs: Any) -> list[Any]:
    values = (
        args[place] if place < len(args) else kwargs.get(name)
        for place, name in _written_places(func)
    )
    return _fakes(values)


def _host_to_device(func: Any, args: Any, kwargs: Any) -> Any:
    source = args[0]
    dtype = kwargs.get("dtype") or source.dtype
    target = kwargs.get("device")
    if isinstance(source, FakeTensor):
        if target is None or torch.device(target).type != "cpu":
            return NotImplemented
        return _device_to_host(source, dtype)
    if _small(source):
        return pretended(source.to(dtype, copy=True))
    return like(source, dtype)


def _device_to_host(source: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    values = known(source)
    if values is not None:
        return values.to(dtype, copy=True)
    if not _small(source):  # it goes on as a shape: whoever reads a value of it guesses there
        with FAKE:
            return torch.empty_strided(source.shape, source.stride(), dtype=dtype, device="cpu")
    LEDGER.guess(f"{tuple(source.shape)} {source.dtype} copied to the host")
    return torch.zeros(source.shape, dtype=dtype)


def _scalar(func: Any, args: Any, kwargs: Any) -> Any:
    values = known(args[0])
    if values is not None:
        return values.item()
    dtype = args[0].dtype
    LEDGER.guess(f"{dtype} scalar read on the host")
    if dtype == torch.bool:
        return False
    return 1.0 if dtype.is_floating_point else 1


def _copy_to_host(func: Any, args: Any, kwargs: Any) -> Any:
    target, source = args[0], args[1]
    if isinstance(target, FakeTensor):
        return NotImplemented
    values = _device_to_host(source, source.dtype)
    if isinstance(values, FakeTensor):
        LEDGER.guess(f"{tuple(source.shape)} {source.dtype} copied to the host")
        values = torch.zeros(source.shape, dtype=source.dtype)
    target.copy_(values)
    return target


def _compare(func: Any, args: Any, kwargs: Any) -> bool:
    left, right = (known(t) if isinstance(t, FakeTensor) else t for t in args[:2])
    if left is None or right is None:
        LEDGER.guess(f"{func._schema.name} of two tensors")
        return True
    return bool(func(left, right, *args[2:], **kwargs))


def _copy_each(func: Any, args: Any, kwargs: Any) -> None:
    """One copy after the other: what is unknown of one says nothing of the others."""
    with PretendedCuda():
        for target, source in zip(args[0], args[1], strict=True):
            target.copy_(source)


_SPECIAL: dict[Any, Callable[[Any, Any, Any], Any]] = {
    aten._to_copy.default: _host_to_device,
    aten._foreach_copy_.default: _copy_each,
    aten._local_scalar_dense.default: _scalar,
    aten.allclose.default: _compare,
    aten.copy_.default: _copy_to_host,
    aten.equal.default: _compare,
    aten.item.default: _scalar,
    aten.is_pinned.default: lambda func, args, kwargs: False,
}


def _random_fill(tensor: Any) -> Any:
    """Random values of no account (dummy weights): fill with one small constant."""
    values = known(tensor)
    if values is not None:
        values.fill_(1e-3 if tensor.dtype.is_floating_point else 1)
    return tensor


def _values(args: Any, kwargs: Any, read: Read) -> tuple[Any, Any] | None:
    """An operator's arguments with pretended tensors replaced by their values, on the CPU.

    None when a real tensor among them is too large to follow.
    """
    small = True

    def replace(value: Any) -> Any:
        nonlocal small
        if isinstance(value, (list, tuple)):
            return type(value)(map(replace, value))
        if isinstance(value, FakeTensor):
            return read(value)
        if isinstance(value, torch.Tensor):
            small = small and _small(value)
        return value

    new_args = replace(args)
    new_kwargs = {name: replace(value) for name, value in kwargs.items()}
    if new_kwargs.get("device") is not None:
        new_kwargs["device"] = "cpu"
    return (new_args, new_kwargs) if small else None


def _run(func: Any, name: str, args: Any, kwargs: Any, read: Read | None) -> Any:
    """Run an operator on shapes and, where every argument's values are known, on the values."""
    values = _values(args, kwargs, read) if read else None
    if func in VALUE_SHAPED:
        if values is None:
            return guess_shape(func, name, args, kwargs)
        return exact_shape(func, name, *values)
    out = direct.run(func, args, kwargs)
    if out is NotImplemented:
        try:
            with FAKE:
                out = func(*args, **kwargs)
        except (DynamicOutputShapeException, DataDependentOutputException, NotImplementedError):
            return guess_shape(func, name, args, kwargs)
    fakes = _fakes((out,))
    for fake in fakes:
        fake.constant = None
    if values is not None and all(_small(fake) for fake in fakes):
        _follow_values(func, name, out, *values)
    return out


def _follow_values(func: Any, name: str, out: Any, args: Any, kwargs: Any) -> None:
    try:
        values = func(*args, **kwargs)
    except (RuntimeError, NotImplementedError, ValueError, IndexError, TypeError) as error:
        # CPU torch lacks some CUDA operators (fp8 matmul, ...); the shapes are right all the same.
        LEDGER.skip("known value failed", f"{name}: {type(error).__name__}")
        return
    for fake, value in zip(tree_flatten(out)[0], tree_flatten(values)[0], strict=True):
        if isinstance(fake, FakeTensor) and isinstance(value, torch.Tensor):
            carry(fake, value)
