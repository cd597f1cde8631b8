"""One simulated capture: a process becomes rank 0 of a serving config, and is asked the probe."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

from kerneldefs.capture.record import (
    CALLS_FILE,
    DUMP_FOLDER,
    TEMPLATES_FILE,
    write_calls,
    write_templates,
)
from kerneldefs.capture.simulate.ledger import LEDGER
from kerneldefs.capture.simulate.pretence import pretence
from kerneldefs.serving.config import ServingConfig


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


def capture(config: ServingConfig, model: Path, out: Path) -> dict[str, Any]:
    """Capture one config into the empty directory `out`; returns what capture.json says of it.

    `model` is the directory with the config.json that SGLang reads.
    """
    started = time.monotonic()
    rank = out / "rank0"
    (rank / DUMP_FOLDER).mkdir(parents=True)
    machine = pretence(config.arch)
    machine.begin(config.tp, rank / DUMP_FOLDER)
    from kerneldefs.capture.simulate import serve

    arguments = server_arguments(config, model)
    backend = serve.run(arguments, config.tp, machine.recorder)
    write_calls(rank / CALLS_FILE, machine.recorder.calls())
    write_templates(out / TEMPLATES_FILE, machine.recorder.templates)
    seconds = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"captured in {seconds:.1f} s, peak {memory:.2f} GB")
    return {
        "arguments": {**arguments, "model_path": config.repo_id},
        "attention_backend": backend,
        "stubbed": machine.stubbed,
        **LEDGER.to_json(),
    }
