"""The server arguments of a serving config: the same for a pretended machine and for a real one."""

from __future__ import annotations

import importlib.metadata
import inspect
from pathlib import Path
from typing import Any

from kerneldefs.errors import KerneldefsError, nearest
from kerneldefs.serving.config import ServingConfig

_FIRST_NODE = "127.0.0.1:29500"  # which every capture is a rank of; nothing connects to it


def server_arguments(config: ServingConfig, model: Path) -> dict[str, Any]:
    """Return SGLang's ServerArgs for a config; `model` is the directory that SGLang reads."""
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
        "disable_flashinfer_autotune": True,
        "max_total_tokens": 65536,
        "max_running_requests": 64,
        "sampling_backend": "flashinfer",
        "log_level": "warning",
    }
    optional: dict[str, Any] = {
        "attention_backend": config.attention_backend,
        "moe_runner_backend": config.moe_runner_backend,
        "page_size": config.page_size,
    }
    if nodes(config) > 1:
        optional |= {"nnodes": nodes(config), "dist_init_addr": _FIRST_NODE}
    arguments.update({name: value for name, value in optional.items() if value is not None})
    return {**arguments, **config.arguments}


def nodes(config: ServingConfig) -> int:
    """Return how many nodes the ranks fill: what is fused with communication hangs on it."""
    return -(-config.tp // config.gpus_per_node)


def check_names(server_args: Any, arguments: dict[str, Any]) -> None:
    """Refuse an argument that the class ServerArgs of this release of SGLang does not have."""
    known = set(inspect.signature(server_args).parameters)
    for name in sorted(set(arguments) - known):
        version = importlib.metadata.version("sglang")
        raise KerneldefsError(
            f"SGLang {version} has no server argument {name!r}{nearest(name, known)}"
        )
