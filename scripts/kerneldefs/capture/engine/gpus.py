"""The GPUs of this machine: which are there, which a capture may take, and what runs on them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kerneldefs.errors import KerneldefsError

VISIBLE = "CUDA_VISIBLE_DEVICES"
_WITHOUT = "`--backend simulate` (backend=simulate) captures without a GPU"
_BESIDE = 0.1  # of a GPU's memory: what CUDA and the kernels take beside what SGLang is given


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One GPU as NVIDIA's driver describes it; memory in bytes."""

    token: str  # what CUDA_VISIBLE_DEVICES calls it
    uuid: str
    name: str
    arch: str  # e.g. "sm_90"
    free: int
    total: int
    processes: tuple[int, ...]  # pids that run on it


def visible() -> list[Gpu]:
    """Return the GPUs that this process may use, in CUDA's order.

    Raises KerneldefsError without a driver, and for a CUDA_VISIBLE_DEVICES that names none of them.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
        found = [_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        raise KerneldefsError(
            f"no NVIDIA driver answers on this machine ({error}); {_WITHOUT}"
        ) from None
    return chosen(found, os.environ.get(VISIBLE))


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    running = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    return Gpu(
        token=str(index),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        name=nvml.nvmlDeviceGetName(handle),
        arch=f"sm_{major}{minor}",
        free=memory.free,
        total=memory.total,
        processes=tuple(sorted(process.pid for process in running)),
    )


def chosen(found: Sequence[Gpu], names: str | None) -> list[Gpu]:
    """Return those GPUs that CUDA_VISIBLE_DEVICES names (by index or UUID), in its order.

    As CUDA does, stop at the first name that is no GPU's.
    """
    if names is None:
        return list(found)
    kept: list[Gpu] = []
    for name in filter(None, (word.strip() for word in names.split(","))):
        match = next((g for g in found if g.token == name or g.uuid.startswith(name)), None)
        if match is None:
            break
        kept.append(match)
    if not kept:
        there = ", ".join(gpu.token for gpu in found) or "none"
        raise KerneldefsError(
            f"{VISIBLE}={names!r} names no GPU of this machine (there: {there}); "
            f"unset it or correct it, or {_WITHOUT}"
        )
    return kept


def usable(gpus: Sequence[Gpu], count: int, arch: str) -> list[Gpu]:
    """Return the GPUs of an architecture; too few are an error that says what is there."""
    same = [gpu for gpu in gpus if gpu.arch == arch]
    if len(same) < count:
        there = ", ".join(f"{gpu.token}: {gpu.name} ({gpu.arch})" for gpu in gpus)
        raise KerneldefsError(
            f"this config needs {count} GPU(s) of {arch}, and {len(same)} are visible here "
            f"({there}); grant the job as many as its tp, or {_WITHOUT}"
        )
    return same


def check_memory(gpus: Sequence[Gpu], fraction: float) -> None:
    """Refuse GPUs that somebody else's process has filled, before anything is loaded.

    `fraction` is what SGLang is given of a GPU's memory.
    """
    needed = fraction + _BESIDE
    for gpu in gpus:
        if gpu.free < needed * gpu.total:
            held = ", ".join(map(str, gpu.processes)) or "none that the driver shows"
            raise KerneldefsError(
                f"GPU {gpu.token} has {gpu.free >> 30} of {gpu.total >> 30} GiB free and a capture "
                f"starts with {needed:.0%}; processes on it: {held}; end them or wait"
            )


@contextlib.contextmanager
def reserved(gpus: Sequence[Gpu], count: int, seconds: float) -> Iterator[list[Gpu]]:
    """Hold `count` of the GPUs, all or none, so that no other capture on this machine takes them.

    Waits for so many seconds; the lock of a process that died is free.
    """
    folder = Path(tempfile.gettempdir()) / "kerneldefs-gpus"
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError):
        folder.chmod(0o1777)  # every user of the machine
    deadline = time.monotonic() + seconds
    while (held := _try(folder, gpus, count)) is None:
        if time.monotonic() > deadline:
            raise KerneldefsError(
                f"{count} of the GPUs {', '.join(gpu.token for gpu in gpus)} did not come free in "
                f"{seconds:.0f} s: other captures hold them ({folder});"
                f" wait for these, or {_WITHOUT}"
            )
        time.sleep(1.0)
    try:
        yield [gpu for gpu, _ in held]
    finally:
        for _, lock in held:
            lock.release()


def _try(folder: Path, gpus: Sequence[Gpu], count: int) -> list[tuple[Gpu, FileLock]] | None:
    held: list[tuple[Gpu, FileLock]] = []
    with FileLock(folder / "all.lock", mode=0o666):  # two captures must not take half each
        for gpu in gpus:
            lock = FileLock(folder / f"{gpu.uuid}.lock", mode=0o666)
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0)
                held.append((gpu, lock))
            if len(held) == count:
                return held
        for _, lock in held:
            lock.release()
    return None
