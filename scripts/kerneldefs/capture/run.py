"""One capture from a serving config to a finished capture directory."""

from __future__ import annotations

import shutil
import tempfile
import traceback
from pathlib import Path
from typing import Any

import kerneldefs
from kerneldefs.capture.record import CAPTURE_FILE, DUMP_FOLDER
from kerneldefs.capture.versions import installed_versions
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import replaced_directory, write_json
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.modelconfig import materialise

# How SGLang says that it will not serve a model this way: raised in its own code, with a sentence,
# or in the library's that it reads a config.json with.
_REFUSALS = (ValueError, AssertionError, NotImplementedError)
_REFUSERS = {"sglang": "SGLang", "transformers": "transformers"}


def capture_file(config_file: str, model_config: str, out: str, backend: str) -> int:
    """Capture the config in a file and say how it went; 0 for a capture and for a refusal."""
    config = ServingConfig.load(Path(config_file))
    summary = capture(config, Path(model_config), Path(out), backend)
    print(f"{config.id}: {summary['status']} {summary['reason']}".strip(), flush=True)
    return 0


def capture(config: ServingConfig, model_config: Path, out: Path, backend: str) -> dict[str, Any]:
    """Capture `config` into the directory `out`, whole or not at all; returns capture.json's data.

    `model_config` is a directory with the model's config.json. When SGLang refuses to serve the
    model this way the directory holds capture.json alone, with status "refused" and its reason; any
    other failure is an error.
    """
    if backend != "simulate":
        raise KerneldefsError(
            f"capture backend {backend!r} is not available; use `simulate`, which needs no GPU"
        )
    with replaced_directory(out) as folder, tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        model.mkdir()
        materialise(model_config, model, config.trust_remote_code)
        summary = _simulate(config, model, folder)
        summary |= {
            "backend": backend,
            "kerneldefs": kerneldefs.__version__,
            "versions": installed_versions(),
        }
        write_json(folder / CAPTURE_FILE, summary)
    return summary


def _simulate(config: ServingConfig, model: Path, folder: Path) -> dict[str, Any]:
    from kerneldefs.capture.simulate import session

    try:
        found = session.capture(config, model, folder)
    except _REFUSALS as error:
        refuser = _refuser(error)
        if refuser is None:
            raise
        traceback.print_exc()
        shutil.rmtree(folder / "rank0")  # what was seen before the refusal is no capture
        return {"status": "refused", "reason": f"{refuser}: {_sentence(error)}"}
    if not any((folder / "rank0" / DUMP_FOLDER).glob("*.json")):
        raise KerneldefsError(
            f"{config.id}: FlashInfer dumped nothing: SGLang's {found['attention_backend']} and "
            "its samplers called no FlashInfer API that has a trace template; see the capture's log"
        )
    return {"status": "captured", "reason": "", **found}


def _sentence(error: BaseException) -> str:
    """What an error says, in one line; a bare assertion says what it asserts and where."""
    text = " ".join(str(error).split("\n\n")[0].split())  # advice follows after an empty line
    if text:
        return text
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {frame.line}"


def _refuser(error: BaseException) -> str | None:
    """Whose own code raised the error: the engine's, or the library's that reads its configs.

    None for an error from somewhere below them, which is a failure of the capture.
    """
    frames = traceback.extract_tb(error.__traceback__)
    parts = Path(frames[-1].filename).parts if frames else ()
    return next((name for folder, name in _REFUSERS.items() if folder in parts), None)
