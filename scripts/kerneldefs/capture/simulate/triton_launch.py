"""Triton launches that do nothing, but for the few whose small results steer control flow.

What the others would have written is unknown afterwards.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
import triton.runtime.autotuner
import triton.runtime.jit

from kerneldefs.capture.simulate.ledger import LEDGER
from kerneldefs.capture.simulate.triton_writes import written
from kerneldefs.capture.simulate.values import forget, known


def _small_copy(sources: Any, targets: Any, *args: Any, **kwargs: Any) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)


def _compute_position(
    positions: torch.Tensor,
    start: torch.Tensor,
    prefix_lengths: torch.Tensor,
    lengths: torch.Tensor,
    has_prefix: bool = True,
    *args: Any,
    **kwargs: Any,
) -> None:
    """Token positions [tokens] and start offsets [batch] of an extend batch."""
    true_lengths, true_start = known(lengths), known(start)
    if true_lengths is None or true_start is None:
        return
    count = true_lengths.to(torch.int64)
    true_start.copy_(torch.cumsum(count, 0) - count)
    true_positions, prefix = known(positions), known(prefix_lengths) if has_prefix else None
    if true_positions is None or int(count.sum()) != positions.numel():
        return
    if prefix is None:
        prefix = torch.zeros_like(count)
    runs = [torch.arange(int(n)) + int(p) for n, p in zip(count, prefix, strict=True)]
    true_positions.copy_(torch.cat(runs))


# Kernel name -> what it does to the values that are tracked.
_EMULATED: dict[str, Callable[..., None]] = {
    "_small_copy_kernel": _small_copy,
    "compute_position_kernel": _compute_position,
}


def _innermost(launcher: Any) -> Any:
    """The kernel below autotuners and heuristics."""
    while hasattr(getattr(launcher, "fn", None), "arg_names"):
        launcher = launcher.fn
    return launcher


def _launch(self: Any, *args: Any, **kwargs: Any) -> types.SimpleNamespace:
    kernel = _innermost(self)
    name = str(getattr(kernel.fn, "__name__", kernel))
    LEDGER.skip("triton kernel", name)
    if name in _EMULATED:
        _EMULATED[name](*args, **kwargs)
    else:
        passed = dict(zip(kernel.arg_names, args, strict=False)) | kwargs
        for parameter in written(kernel):
            forget(passed.get(parameter))
    return types.SimpleNamespace(
        n_regs=0, n_spills=0, metadata=types.SimpleNamespace(shared=0), asm={}
    )


class _Driver:
    """Triton's view of the pretended GPU."""

    def __init__(self, properties: types.SimpleNamespace) -> None:
        self._target = types.SimpleNamespace(
            backend="cuda", arch=properties.major * 10 + properties.minor, warp_size=32
        )
        self.utils = types.SimpleNamespace(
            get_device_properties=lambda *a: {
                "max_shared_mem": properties.shared_memory_per_block_optin,
                "multiprocessor_count": properties.multi_processor_count,
                "warpSize": 32,
                "max_num_regs": 65536,
            }
        )

    def get_current_target(self) -> types.SimpleNamespace:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, *args: Any) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda:0")

    def get_device_interface(self) -> Any:
        return torch.cuda

    def get_benchmarker(self) -> Callable[..., list[float]]:
        return lambda fn, **kwargs: [1.0, 1.0, 1.0]


def _accept_foreign_keys() -> None:
    """Newer Tritons refuse a tuning key that is no argument; nothing is tuned here."""
    autotuner = triton.runtime.autotuner.Autotuner
    real = autotuner.__init__

    def init(self: Any, fn: Any, arg_names: Any, configs: Any, key: Any, *a: Any, **k: Any) -> None:
        real(self, fn, arg_names, configs, [n for n in key if n in arg_names], *a, **k)

    autotuner.__init__ = init


def install(properties: types.SimpleNamespace) -> None:
    """Replace every way to launch a Triton kernel, and the driver that Triton asks."""
    launchers = [
        triton.runtime.jit.JITFunction,
        triton.runtime.autotuner.Autotuner,
        triton.runtime.autotuner.Heuristics,
    ]
    try:
        from triton.experimental.gluon._runtime import GluonJITFunction
    except ImportError:
        pass  # this Triton has no Gluon, so nothing can launch it
    else:
        launchers.append(GluonJITFunction)
    for launcher in launchers:
        launcher.run = _launch
    _accept_foreign_keys()
    # triton.runtime re-exports its driver under the name of the module that defines it.
    from triton.runtime.driver import driver

    driver._active = driver._default = _Driver(properties)
