"""The capture backend `engine`: the model cut, the engine run, and what a failure leaves behind."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import kerneldefs
from kerneldefs.capture.engine import session
from kerneldefs.capture.engine.weights import read_weights
from kerneldefs.capture.layers import Cut, keep_leading, layer_count
from kerneldefs.capture.record import CAPTURE_FILE
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json, replaced_directory, write_json, write_text
from kerneldefs.serving.config import ServingConfig

PARTIAL = ".partial"  # added to a capture's name: what a failed engine had dumped
_CUT = "kerneldefs.capture.simulate.cut"


@dataclasses.dataclass(frozen=True)
class EngineOptions:
    """What only the engine is told."""

    weights: Path | None = None  # the folder of the model's own; None for dummy ones
    cubins: Path | None = None  # the folder of FlashInfer's precompiled kernels
    limit: float = session.LIMIT  # seconds, kernel compilation included
    layers: int | None = None  # leading layers to serve; None for those that hold one of every kind
    why: str = "asked for"  # why the engine captures and not the simulation


def capture(
    config: ServingConfig, model: Path, folder: Path, out: Path, options: EngineOptions
) -> dict[str, Any]:
    """Capture into the empty directory `folder`, which will become `out`.

    Returns capture.json's data, with status "refused" where SGLang refuses the model. Any other
    failure is an error, and what was dumped before it is kept beside `out`.
    """
    session.available(config)  # before the model is looked at, which takes a while
    weights = None if options.weights is None else read_weights(options.weights)
    if weights is None:
        cut = _cut(config, model, options.layers)
    else:
        cut = _whole(model, options.layers)
        weights.link(model)
    try:
        found = session.capture(
            config, model, folder, session.Options(weights, options.cubins, options.limit)
        )
    except session.Refused as refused:
        return {"status": "refused", "reason": str(refused), "layers": cut}
    except KerneldefsError as error:
        if any(folder.iterdir()):
            _keep_partial(folder, partial_of(out), str(error))
        raise
    shutil.rmtree(partial_of(out), ignore_errors=True)
    reason = {"backend_reason": options.why}
    return {"status": "captured", "reason": "", "layers": cut, **reason, **found}


def partial_of(out: Path) -> Path:
    """Return where a failed capture of `out` leaves what it had dumped."""
    return out.with_name(out.name + PARTIAL)


def _whole(model: Path, layers: int | None) -> dict[str, Any]:
    """Keep every layer, as real weights need."""
    if layers is not None:
        raise KerneldefsError(
            "--layers leaves layers out, which real weights cannot; leave out one of --layers and "
            "--load-format auto"
        )
    count = layer_count(read_json(model / "config.json"))
    return dataclasses.asdict(Cut(count, count))


def _cut(config: ServingConfig, model: Path, layers: int | None) -> dict[str, Any]:
    """Cut the model's config.json as the simulation does, or to so many leading layers."""
    path = model / "config.json"
    if layers is not None:
        whole = read_json(path)
        # json.dumps, not canonical JSON: published configs hold Infinity (Mamba's step limit).
        write_text(path, json.dumps(keep_leading(whole, layers), indent=2) + "\n")
        return dataclasses.asdict(Cut(layers, layer_count(whole)))
    with tempfile.TemporaryDirectory() as scratch:
        source, result = Path(scratch) / "config.json", Path(scratch) / "cut.json"
        write_json(source, config.to_json())
        command = [sys.executable, "-m", _CUT, str(source), str(model), str(result)]
        scripts = Path(kerneldefs.__file__).parents[1]
        code = subprocess.run(command, cwd=scripts, check=False).returncode
        if code or not result.exists():
            raise KerneldefsError(
                f"{config.id}: the model's layers could not be told apart without a GPU (see the "
                "log above); give --layers, the number of leading layers to serve"
            )
        cut: dict[str, Any] = read_json(result)
        return cut


def _keep_partial(folder: Path, partial: Path, reason: str) -> None:
    """Keep what a failed engine had dumped, under a name and a status that nothing stages."""
    with replaced_directory(partial) as kept:
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        write_json(kept / CAPTURE_FILE, {"status": "partial", "reason": reason})
