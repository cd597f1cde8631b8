"""One capture from a serving config to a finished capture directory."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from pathlib import Path
from typing import Any

import kerneldefs
from kerneldefs.capture import refusal
from kerneldefs.capture.engine import backend as engine
from kerneldefs.capture.engine.backend import EngineOptions
from kerneldefs.capture.record import CAPTURE_FILE, DUMP_FOLDER
from kerneldefs.capture.versions import installed_versions
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import replaced_directory, write_json
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.modelconfig import materialise
from kerneldefs.worker import Command

SIMULATE = "simulate"
ENGINE = "engine"
BACKENDS = (SIMULATE, ENGINE)


def captures(arch: str, folder: Path) -> Command:
    """Import what captures for an architecture need, for a worker; return what its forks do.

    In `folder` they keep for each other how many layers of a model differ.
    """
    from kerneldefs.capture.simulate.pretence import pretence

    pretence(arch).import_common()
    from kerneldefs.capture.simulate.kept import SURVEYS

    os.environ[SURVEYS] = str(folder)

    def command(arguments: list[str]) -> int:
        config_file, model_config, out, backend = arguments
        return capture_file(config_file, model_config, out, backend)

    return command


def capture_file(
    config_file: str,
    model_config: str,
    out: str,
    backend: str,
    options: EngineOptions | None = None,
    rank: int = 0,
) -> int:
    """Capture the config in a file and say how it went; 0 for a capture and for a refusal."""
    config = ServingConfig.load(Path(config_file))
    summary = capture(config, Path(model_config), Path(out), backend, options, rank)
    print(f"{config.id}: {summary['status']} {summary['reason']}".strip(), flush=True)
    return 0


def capture(
    config: ServingConfig,
    model_config: Path,
    out: Path,
    backend: str,
    options: EngineOptions | None = None,
    rank: int = 0,
) -> dict[str, Any]:
    """Capture `config` into the directory `out`, whole or not at all; returns capture.json's data.

    `model_config` is a directory with the model's config.json. When SGLang refuses to serve the
    model this way the directory holds capture.json alone, with status "refused" and its reason; any
    other failure is an error.
    """
    if backend not in BACKENDS:
        raise KerneldefsError(
            f"capture backend {backend!r} is not known; use one of {', '.join(BACKENDS)}"
        )
    with replaced_directory(out) as folder, tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        model.mkdir()
        materialise(model_config, model, config.trust_remote_code)
        if backend == SIMULATE:
            summary = _simulate(config, model, folder, rank)
        else:
            summary = engine.capture(config, model, folder, out, options or EngineOptions())
        _check(config, summary, folder)
        summary |= {
            "backend": backend,
            "config": config.to_json(),
            "kerneldefs": kerneldefs.__version__,
            "versions": installed_versions(),
        }
        write_json(folder / CAPTURE_FILE, summary)
    return summary


def _simulate(config: ServingConfig, model: Path, folder: Path, rank: int) -> dict[str, Any]:
    from kerneldefs.capture.simulate import session

    try:
        found = session.capture(config, model, folder, rank)
    except Exception as error:  # what is nobody's refusal is raised again
        raised = refusal.described(error)
        refuser = refusal.refuser_of(raised)
        if refuser is None:
            raise
        traceback.print_exc()
        return {"status": "refused", "reason": f"{refuser}: {refusal.sentence_of(raised)}"}
    return {"status": "captured", "reason": "", **found}


def _check(config: ServingConfig, summary: dict[str, Any], folder: Path) -> None:
    """Empty the folder of a refused capture; one that dumped nothing is an error."""
    if summary["status"] == "refused":  # what was seen before the refusal is no capture
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif not any(folder.glob(f"rank*/{DUMP_FOLDER}/*.json")):
        raise KerneldefsError(
            f"{config.id}: FlashInfer dumped nothing: SGLang's {summary['attention_backend']} and "
            "its samplers called no FlashInfer API that has a trace template; see the capture's log"
        )
