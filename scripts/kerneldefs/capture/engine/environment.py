"""What the engine's processes find in their environment, before any of them imports torch."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from kerneldefs.capture.engine.places import FOLDER, MARK
from kerneldefs.capture.versions import installed_versions

CACHE = "KERNELDEFS_CACHE"  # where compiled kernels are kept; default ~/.cache/kerneldefs
_PLUGIN = "kerneldefs"
_SCRIPTS = Path(__file__).resolve().parents[3]


def cache_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for what captures keep outside of results; machines may share it."""
    base = environment.get(CACHE)
    return Path(base) if base else Path.home() / ".cache" / "kerneldefs"


def kernel_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for compiled kernels: one for each machine and set of releases.

    A home directory may be shared by machines of different GPUs and compilers. FlashInfer, Triton
    and DeepGEMM lock what they build in it or rename it into place, so captures may share it.
    """
    versions = installed_versions()
    parts = [f"{name}-{versions[name]}" for name in ("flashinfer-python", "sglang", "torch")]
    return (
        cache_home(environment)
        / platform.node()
        / "_".join(["py" + platform.python_version(), *parts])
    )


def write_plugin(folder: Path) -> None:
    """Write a distribution's metadata, so that SGLang's plugin loader finds us on the path."""
    info = folder / f"{_PLUGIN}_engine-1.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {_PLUGIN}-engine\nVersion: 1\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    entry = f"[sglang.srt.plugins]\n{_PLUGIN} = kerneldefs.capture.engine.rank:install\n"
    (info / "entry_points.txt").write_text(entry, encoding="utf-8")


def engine_environment(
    folder: Path, plugin: Path, gpus: list[str], mark: str, cubins: Path | None = None
) -> dict[str, str]:
    """Return the environment of the engine's processes.

    `folder` is where ranks write, `plugin` the folder of `write_plugin`, `gpus` what
    CUDA_VISIBLE_DEVICES is to hold, `cubins` the folder of FlashInfer's precompiled kernels where
    they were fetched. Nothing is downloaded.
    """
    cache = kernel_cache()
    environment = {
        **os.environ,
        MARK: mark,
        FOLDER: str(folder),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as the driver counts, which is how they were chosen
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(_SCRIPTS), str(plugin), os.environ.get("PYTHONPATH")])
        ),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "SGLANG_PLUGINS": _PLUGIN,
        # Compiled kernels.
        "DG_JIT_CACHE_DIR": str(cache / "deep_gemm"),
        "FLASHINFER_WORKSPACE_BASE": str(cache),
        "SGLANG_DG_CACHE_DIR": str(cache / "deep_gemm"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "TVM_FFI_CACHE_DIR": str(cache / "tvm_ffi"),
        # As in the simulation.
        "FLASHINFER_TRACE_DUMP": "1",
        "FLASHINFER_TRACE_DUMP_DIR": str(folder / "before-load"),
        "FLASHINFER_USE_CUDA_NORM": "1",
        "SGLANG_JIT_DEEPGEMM_PRECOMPILE": "0",
        "TORCHDYNAMO_DISABLE": "1",
        # Multicast over NVLink needs a fabric that virtual machines and shared hosts may not have.
        "NCCL_NVLS_ENABLE": os.environ.get("NCCL_NVLS_ENABLE", "0"),
        "NVSHMEM_DISABLE_NVLS": "1",
        "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1",
        # No network. FlashInfer has a download that heeds no switch: it is led to an empty folder.
        "FLASHINFER_CUBINS_REPOSITORY": str(cache / "none"),
        "FLASHINFER_NO_DOWNLOAD": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
        "SGLANG_SKIP_CUBIN_DOWNLOAD": "1",  # of releases before 0.5.17
        "TRANSFORMERS_OFFLINE": "1",
    }
    if cubins is not None:
        environment["FLASHINFER_CUBIN_DIR"] = str(cubins)
    return environment
