"""Make `torch.cuda` answer as a machine with GPUs of one architecture would."""

from __future__ import annotations

import contextlib
import ctypes
import os
import types
from collections.abc import Iterator
from typing import Any

import torch

from kerneldefs.capture.simulate.arch import Arch

_CUDA_SLOT, _META_SLOT = 1, 14  # c10::DeviceType
_DEVICE_TYPES = 20  # c10::COMPILE_TIME_MAX_DEVICE_TYPES is at least this


def is_cuda_build() -> bool:
    """Whether this torch was built with CUDA (with or without a GPU present)."""
    return hasattr(torch._C, "_cuda_init")


class _Stream:
    """A stream, event or graph that accepts everything and has nothing to wait for."""

    cuda_stream = 0
    stream_id = 0
    device_index = 0
    device_type = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.device = torch.device("cuda:0")

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing

    def query(self) -> bool:
        return True

    def record_event(self, event: Any = None) -> Any:
        return event or _Event()


class _Event(_Stream):
    def elapsed_time(self, other: Any) -> float:
        return 1.0


class _Graph(_Stream):
    pass


_Generator = torch.Generator


class _CpuGenerator(_Generator):  # type: ignore[misc,valid-type]
    """A generator that lives on the CPU whatever device it is asked for."""

    def __new__(cls, device: Any = None) -> torch.Generator:
        return _Generator.__new__(_Generator, "cpu")


class _DefaultGenerator:
    """torch.cuda.default_generators' element: a state nobody reads."""

    device = torch.device("cuda:0")

    def get_state(self) -> torch.Tensor:
        return torch.zeros(16, dtype=torch.uint8)

    def set_state(self, state: Any) -> None:
        pass

    def initial_seed(self) -> int:
        return 0

    def manual_seed(self, seed: int) -> _DefaultGenerator:
        return self


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


@contextlib.contextmanager
def _context(*args: Any, **kwargs: Any) -> Iterator[None]:
    yield


def _properties(arch: Arch) -> types.SimpleNamespace:
    return types.SimpleNamespace(
        name=arch.product,
        major=arch.major,
        minor=arch.minor,
        multi_processor_count=arch.multiprocessors,
        total_memory=arch.memory_gib << 30,
        L2_cache_size=50 << 20,
        shared_memory_per_block=49152,
        shared_memory_per_block_optin=arch.shared_memory_optin,
        shared_memory_per_multiprocessor=arch.shared_memory_optin + 1024,
        warp_size=32,
        regs_per_multiprocessor=65536,
        max_threads_per_multi_processor=2048,
        is_integrated=False,
        gcnArchName="",
        uuid="GPU-0",
        pci_bus_id=0,
    )


def _queries(arch: Arch) -> dict[str, Any]:
    """Functions of torch.cuda that answer a question."""
    properties = _properties(arch)
    total = arch.memory_gib << 30
    stream = _Stream()
    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_is_compiled": lambda: True,
        "current_device": lambda: 0,
        "get_device_capability": lambda *a, **k: (arch.major, arch.minor),
        "get_device_properties": lambda *a, **k: properties,
        "get_device_name": lambda *a, **k: arch.product,
        "mem_get_info": lambda *a, **k: (int(arch.memory_gib * 0.97) << 30, total),
        "memory_allocated": lambda *a, **k: 0,
        "max_memory_allocated": lambda *a, **k: 0,
        "memory_reserved": lambda *a, **k: 0,
        "memory_stats": lambda *a, **k: {},
        "current_stream": lambda *a, **k: stream,
        "default_stream": lambda *a, **k: stream,
        "is_current_stream_capturing": lambda: False,
        "is_bf16_supported": lambda *a, **k: True,
        "get_arch_list": lambda: [f"sm_{arch.major}{arch.minor}"],
        "can_device_access_peer": lambda *a: True,
        "current_blas_handle": lambda: 0,
        "utilization": lambda *a: 0,
    }


_NOTHING = (
    "_lazy_init",
    "empty_cache",
    "init",
    "ipc_collect",
    "manual_seed",
    "manual_seed_all",
    "reset_peak_memory_stats",
    "set_device",
    "set_stream",
    "synchronize",
)
_CONTEXTS = ("stream", "device", "MemPool", "use_mem_pool")
_CLASSES = {"Stream": _Stream, "Event": _Event, "ExternalStream": _Stream, "CUDAGraph": _Graph}


def _install_device_guard() -> None:
    """Let tensors name a CUDA device. A CUDA build has a guard for that; a CPU build has none.

    There, the slot of the CUDA device type in c10's registry gets the meta device's guard, which
    does nothing (c10/core/impl/DeviceGuardImplInterface.h, NoOpDeviceGuardImpl).
    """
    torch._C._set_only_lift_cpu_tensors(True)
    if is_cuda_build():
        torch._C._ensureCUDADeviceGuardSet()
        return
    c10 = ctypes.CDLL(os.path.join(os.path.dirname(torch.__file__), "lib", "libc10.so"))
    registry = (ctypes.c_void_p * _DEVICE_TYPES).in_dll(
        c10, "_ZN3c104impl26device_guard_impl_registryE"
    )
    registry[_CUDA_SLOT] = registry[_META_SLOT]


def set_count(gpus: int) -> None:
    """Pretend that there are so many GPUs."""
    torch.cuda.device_count = lambda: gpus
    torch.cuda.default_generators = (_DefaultGenerator(),) * gpus


def install(arch: Arch) -> types.SimpleNamespace:
    """Pretend that GPUs of `arch` are there, one for now; returns their device properties."""
    set_count(1)
    for name, function in _queries(arch).items():
        setattr(torch.cuda, name, function)
    for name in _NOTHING:
        setattr(torch.cuda, name, _nothing)
    for name in _CONTEXTS:
        setattr(torch.cuda, name, _context)
    for name, cls in _CLASSES.items():
        setattr(torch.cuda, name, cls)
    torch.Generator = _CpuGenerator
    torch.Tensor.pin_memory = lambda self, *a, **k: self
    torch.Tensor.is_pinned = lambda self, *a, **k: False
    torch.Tensor.record_stream = _nothing
    if not is_cuda_build():
        torch.version.cuda = "13.0"
    for name in ("_cuda_getCurrentRawStream", "_cuda_getDevice", "_cuda_setDevice"):
        setattr(torch._C, name, lambda *a: 0)
    torch.accelerator.current_accelerator = lambda *a, **k: torch.device("cuda")
    torch.accelerator.is_available = lambda: True
    # A compiler would need the GPU's own; eager code makes the same calls.
    torch.compile = lambda model=None, *a, **k: model if model is not None else (lambda f: f)
    torch.backends.cuda.matmul.allow_tf32 = False
    # Releases up to torch 2.11 make a real tensor before the first pretended one of a CUDA device.
    torch._subclasses.fake_tensor.init_gpu_context = _nothing
    _install_device_guard()
    properties: types.SimpleNamespace = torch.cuda.get_device_properties(0)
    return properties
