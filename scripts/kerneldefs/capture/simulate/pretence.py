"""The pretended machine of a process: one GPU architecture, from before torch to the end.

Order matters and is the reason for this module: the environment before torch, the pretended GPU
before anything asks for one, the recorder before FlashInfer decorates, FlashInfer before SGLang.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

from kerneldefs.capture.simulate.arch import Arch, arch
from kerneldefs.capture.simulate.ledger import LEDGER
from kerneldefs.capture.simulate.releases import installed_release

# What every capture imports sooner or later; a worker imports it once, before it forks.
_COMMON = (
    "flashinfer.comm",
    "flashinfer.fused_moe",
    "flashinfer.gemm",
    "flashinfer.mla",
    "sglang.benchmark.one_batch",
    "sglang.srt.distributed.device_communicators.pynccl",
    "sglang.srt.layers.attention.attention_registry",
    "sglang.srt.layers.attention.flashinfer_backend",
    "sglang.srt.layers.attention.flashinfer_mla_backend",
    "sglang.srt.layers.attention.trtllm_mha_backend",
    "sglang.srt.layers.attention.trtllm_mla_backend",
    "sglang.srt.layers.flashinfer_comm_fusion",
    "sglang.srt.models.registry",
)


def _prepare_environment(target: Arch, workspace: Path) -> None:
    """Set what torch, FlashInfer and SGLang read from the environment; before importing them."""
    os.environ.update(
        CUDA_VISIBLE_DEVICES="",
        CUTE_DSL_ARCH=target.cute_dsl,
        FLASHINFER_DISABLE_VERSION_CHECK="1",
        FLASHINFER_TRACE_DUMP="1",
        FLASHINFER_USE_CUDA_NORM="1",  # the CUTLASS one would be compiled when first called
        FLASHINFER_WORKSPACE_BASE=str(workspace),
        HF_HUB_OFFLINE="1",
        OMP_NUM_THREADS="1",
        SGLANG_CUTE_AOT_CACHE_DIR="",  # nothing is compiled, so nothing is kept for the next time
        SGLANG_DISABLE_TP_MEMORY_INBALANCE_CHECK="1",  # sic; it would talk to the other ranks
        SGLANG_JIT_DEEPGEMM_PRECOMPILE="0",
        SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK="1",
        SGLANG_USE_MESSAGE_QUEUE_BROADCASTER="0",  # it waits for the other ranks
        TORCHDYNAMO_DISABLE="1",
    )


class Pretence:
    """The pretended machine of this process; stays for as long as the process lives."""

    def __init__(self, target: Arch) -> None:
        self.arch = target
        self._workspace = tempfile.TemporaryDirectory(prefix="kerneldefs-")
        _prepare_environment(target, Path(self._workspace.name))
        import torch

        torch.set_num_threads(1)
        # Loaded for real before any stub could stand in for what they import.
        import numpy  # noqa: F401
        import PIL  # noqa: F401
        import tvm_ffi  # noqa: F401

        from kerneldefs.capture.recorder import Recorder
        from kerneldefs.capture.simulate import (
            collectives,
            compress_plan,
            device,
            flashinfer_jit,
            kernels,
            modes,
            outputs,
            sglang_patches,
            stubs,
            triton_launch,
        )

        self._keep: list[Any] = []
        properties = device.install(target)
        self.stubbed = stubs.install()
        kernels.remember_python_ops()
        triton_launch.install(properties)
        collectives.install()
        kernels.define_operators(self._keep)
        self.recorder = Recorder(outputs.run_body, LEDGER.marks)
        flashinfer_jit.install(self.recorder.install)
        self._keep.append(modes.install())
        compress_plan.take_tensors_as_they_are()
        kernels.load_package()
        kernels.install_cutlass_types()
        kernels.install_deep_gemm(target.multiprocessors)
        sglang_patches.before_import()
        sglang_patches.install_kernels()

    def begin(self, gpus: int, dump: Path) -> None:
        """Start a capture with so many GPUs; FlashInfer reads where to dump at every call."""
        from kerneldefs.capture.simulate import device

        device.set_count(gpus)
        os.environ["FLASHINFER_TRACE_DUMP_DIR"] = str(dump)

    def import_common(self) -> None:
        """Import what every capture imports, so that forked processes find it imported."""
        for name in _COMMON:
            importlib.import_module(name)


_MADE: list[Pretence] = []  # at most one: it cannot be undone


def pretence(name: str) -> Pretence:
    """Return this process's pretence of an architecture, made when first asked for.

    SGLang and FlashInfer freeze decisions about the architecture while they are imported, so a
    process can never turn to another one.
    """
    if not _MADE:
        installed_release()  # refused before anything is imported
        _MADE.append(Pretence(arch(name)))
    if _MADE[0].arch.name != name:
        raise RuntimeError(f"this process pretends to be {_MADE[0].arch.name}, not {name}")
    return _MADE[0]
