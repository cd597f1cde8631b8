"""One simulated capture: a process becomes a rank of a serving config, and is asked the probe."""

from __future__ import annotations

import dataclasses
import gc
import resource
import time
from pathlib import Path
from typing import Any

from kerneldefs.capture.apis import api_ledger, unexplained
from kerneldefs.capture.record import (
    CALLS_FILE,
    DUMP_FOLDER,
    TEMPLATES_FILE,
    write_calls,
    write_templates,
)
from kerneldefs.capture.server import server_arguments
from kerneldefs.capture.simulate.kept import kept_file
from kerneldefs.capture.simulate.ledger import LEDGER
from kerneldefs.capture.simulate.pretence import pretence
from kerneldefs.capture.simulate.ran import in_doubt
from kerneldefs.capture.simulate.survey import cut_model, when_built
from kerneldefs.serving.config import ServingConfig


def capture(config: ServingConfig, model: Path, out: Path, number: int = 0) -> dict[str, Any]:
    """Capture one config into the empty directory `out`; returns what capture.json says of it.

    `model` is the directory with the config.json that SGLang reads; it is cut to its distinct
    layers. `number` is the rank to be: they differ in which experts they hold.
    """
    started = time.monotonic()
    rank = out / f"rank{number}"
    (rank / DUMP_FOLDER).mkdir(parents=True)
    machine = pretence(config.arch)
    gpus = min(config.tp, config.gpus_per_node)
    machine.begin(gpus, rank / DUMP_FOLDER)
    from kerneldefs.capture.simulate import serve

    arguments = server_arguments(config, model) | {
        "disable_radix_cache": True,  # the probe itself says what is cached
        "mem_fraction_static": 0.8,
    }
    # What was imported stays; this process ends before what it makes is worth collecting.
    gc.freeze()
    gc.disable()
    kept = kept_file(model, arguments, config.arch, gpus, number)
    cut, check = cut_model(model, lambda: serve.load(arguments, config.tp, number), kept)
    with when_built(check):
        found = serve.run(arguments, config.tp, machine.recorder, number)
    calls = in_doubt(machine.recorder.calls(), found["not_run"])
    apis = api_ledger(calls)
    found["warnings"] += [*unexplained(apis), *LEDGER.unexplained()]
    write_calls(rank / CALLS_FILE, calls)
    write_templates(out / TEMPLATES_FILE, machine.recorder.templates)
    seconds = time.monotonic() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"captured in {seconds:.1f} s, peak {memory:.2f} GB")
    return {
        "arguments": {**arguments, "model_path": config.repo_id},
        "layers": dataclasses.asdict(cut),
        "stubbed": machine.stubbed,
        "apis": apis,
        **found,
        **LEDGER.to_json(),
    }
