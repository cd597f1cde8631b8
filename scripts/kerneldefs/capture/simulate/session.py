"""One simulated capture: a process becomes rank 0 of a serving config, and is asked the probe.

Order matters and is the reason for this module: the environment before torch, the pretended GPU
before anything asks for one, FlashInfer before SGLang, the recorder before FlashInfer decorates.
"""

from __future__ import annotations

import dataclasses
import os
import resource
import time
from pathlib import Path
from typing import Any

from kerneldefs.capture.record import CALLS_FILE, DUMP_FOLDER, TEMPLATES_FILE, write_calls
from kerneldefs.capture.simulate.arch import Arch, arch
from kerneldefs.capture.simulate.ledger import LEDGER
from kerneldefs.files import write_json
from kerneldefs.serving.config import ServingConfig


def prepare_environment(target: Arch, dump: Path, workspace: Path) -> None:
    """Set what torch, FlashInfer and SGLang read from the environment; before importing them."""
    os.environ.update(
        CUDA_VISIBLE_DEVICES="",
        CUTE_DSL_ARCH=target.cute_dsl,
        FLASHINFER_DISABLE_VERSION_CHECK="1",
        FLASHINFER_TRACE_DUMP="1",
        FLASHINFER_TRACE_DUMP_DIR=str(dump),
        FLASHINFER_USE_CUDA_NORM="1",  # the CUTLASS one would be compiled when first called
        FLASHINFER_WORKSPACE_BASE=str(workspace),
        HF_HUB_OFFLINE="1",
        OMP_NUM_THREADS="1",
        SGLANG_DISABLE_TP_MEMORY_INBALANCE_CHECK="1",  # sic; it would talk to the other ranks
        SGLANG_JIT_DEEPGEMM_PRECOMPILE="0",
        SGLANG_SKIP_SGL_KERNEL_VERSION_CHECK="1",
        SGLANG_USE_MESSAGE_QUEUE_BROADCASTER="0",  # it waits for the other ranks
        TORCHDYNAMO_DISABLE="1",
    )


class Pretence:
    """The pretended machine of this process; stays for as long as the process lives."""

    def __init__(self, target: Arch, gpus: int) -> None:
        import torch

        torch.set_num_threads(1)
        # Loaded for real before any stub could stand in for what they import.
        import numpy  # noqa: F401
        import PIL  # noqa: F401
        import tvm_ffi  # noqa: F401

        from kerneldefs.capture.recorder import Recorder
        from kerneldefs.capture.simulate import (
            collectives,
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
        properties = device.install(target, gpus)
        self.stubbed = stubs.install()
        kernels.remember_python_ops()
        triton_launch.install(properties)
        collectives.install()
        kernels.define_operators(self._keep)
        self.recorder = Recorder(outputs.run_body, LEDGER.marks)
        flashinfer_jit.install(self.recorder.install)
        self._keep.append(modes.install())
        kernels.load_package()
        kernels.install_cutlass_types()
        kernels.install_deep_gemm(target.multiprocessors)
        sglang_patches.before_import()
        sglang_patches.install_kernels()


def server_arguments(config: ServingConfig, model: Path) -> dict[str, Any]:
    """Return SGLang's ServerArgs for a config on the pretended machine."""
    arguments: dict[str, Any] = {
        "model_path": str(model),
        "load_format": "dummy",
        "skip_tokenizer_init": True,
        "device": "cuda",
        "tp_size": config.tp,
        "dp_size": config.dp,
        "ep_size": config.ep,
        "enable_dp_attention": config.enable_dp_attention,
        "kv_cache_dtype": config.kv_cache_dtype,
        "trust_remote_code": config.trust_remote_code,
        "disable_cuda_graph": True,
        "disable_radix_cache": True,
        "disable_flashinfer_autotune": True,
        "max_total_tokens": 65536,
        "max_running_requests": 64,
        "mem_fraction_static": 0.8,
        "sampling_backend": "flashinfer",
        "log_level": "warning",
    }
    optional = {
        "attention_backend": config.attention_backend,
        "moe_runner_backend": config.moe_runner_backend,
        "page_size": config.page_size,
    }
    arguments.update({name: value for name, value in optional.items() if value is not None})
    return {**arguments, **config.arguments}


def capture(config: ServingConfig, model: Path, out: Path, workspace: Path) -> dict[str, Any]:
    """Capture one config into the empty directory `out`; returns what capture.json says of it.

    `model` is the directory with the config.json that SGLang reads.
    """
    started = time.monotonic()
    target = arch(config.arch)
    rank = out / "rank0"
    (rank / DUMP_FOLDER).mkdir(parents=True)
    prepare_environment(target, rank / DUMP_FOLDER, workspace)
    pretence = Pretence(target, max(config.tp, config.ep, 1))
    from kerneldefs.capture.simulate import serve

    arguments = server_arguments(config, model)
    backend = serve.run(arguments, config.tp, pretence.recorder)
    write_calls(rank / CALLS_FILE, pretence.recorder.calls())
    templates = {k: dataclasses.asdict(v) for k, v in pretence.recorder.templates.items()}
    write_json(out / TEMPLATES_FILE, templates)
    seconds = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"captured in {seconds:.1f} s, peak {memory:.2f} GB")
    return {
        "arguments": {**arguments, "model_path": config.repo_id},
        "attention_backend": backend,
        "stubbed": pretence.stubbed,
        **LEDGER.to_json(),
    }
