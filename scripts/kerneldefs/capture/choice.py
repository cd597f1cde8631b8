"""Which backend captures a serving config, and why: decided before the jobs are known."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from kerneldefs.capture.engine.gpus import Gpu, visible
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.config import ServingConfig

SIMULATE = "simulate"
ENGINE = "engine"
AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Choice:
    """A backend, the reason in words, and the GPU model to ask a cluster for ("" for its own)."""

    backend: str
    why: str
    gpu_model: str = ""


def choose(
    config: ServingConfig, backend: str, gpu_types: Mapping[str, str], here: Sequence[Gpu]
) -> Choice:
    """Return the backend of a config.

    `backend` is the setting, `gpu_types` GPU models by architecture that may be asked for, and
    `here` the GPUs that an engine can use on this machine.
    """
    if not config.on_one_node:
        return Choice(
            SIMULATE,
            f"tp {config.tp} is more than the {config.gpus_per_node} GPUs of a {config.hardware} "
            "node, and an engine capture stays on one node",
        )
    model = gpu_types.get(config.arch, "")
    if backend == SIMULATE:
        return Choice(SIMULATE, "backend is simulate")
    if backend == ENGINE:
        return Choice(ENGINE, "backend is engine", model)
    if gpu_types:
        if model:
            return Choice(ENGINE, f"gpu_types has {config.arch}", model)
        return Choice(SIMULATE, f"gpu_types has no {config.arch}")
    same = sum(gpu.arch == config.arch for gpu in here)
    if same >= config.tp:
        return Choice(ENGINE, f"{same} GPUs of {config.arch} are visible here")
    return Choice(SIMULATE, f"{same} of {config.tp} GPUs of {config.arch} can be used here")


def other(choice: Choice) -> Choice:
    """Return the other backend, which a capture by the chosen one is compared with."""
    simulated = choice.backend == SIMULATE
    return Choice(ENGINE if simulated else SIMULATE, "for comparison", choice.gpu_model)


def gpus_here(other_python: bool = False) -> list[Gpu]:
    """Return the visible GPUs, none where SGLang's compiled kernels are not installed for them.

    What an interpreter other than this one has installed is not looked at: it is taken to be fit.
    """
    try:
        return visible() if other_python or _has_kernels() else []
    except KerneldefsError:  # no driver, and so no GPU
        return []


def _has_kernels() -> bool:
    found = importlib.util.find_spec("sgl_kernel")
    places = (found.submodule_search_locations or []) if found else []
    return any(list(Path(place).glob("**/common_ops*.so")) for place in places)
