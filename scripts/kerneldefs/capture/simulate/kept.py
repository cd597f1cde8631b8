"""Surveys that are kept: a model's layers are mostly the same with every attention backend.

A cookbook entry is captured with SGLang's own choice of the attention backend and with FlashInfer.
A survey is kept under all that a model is built from but this backend; whoever finds one has to see
for itself that it holds (simulate/survey.py). The folder lives as long as one run's processes.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import kerneldefs
from kerneldefs.capture.simulate.kinds import Survey
from kerneldefs.capture.versions import installed_versions
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import digest, read_json, write_json

SURVEYS = "KERNELDEFS_SURVEYS"  # names the folder; without it nothing is kept
_BACKEND = "attention_backend"  # how the arguments that name one end: prefill_ and decode_, too


def kept_file(model: Path, arguments: dict[str, Any], *machine: Any) -> Path | None:
    """Return where the survey of this model is kept, made already or not; None where none is.

    `model` is the directory that SGLang reads, before it is cut; `arguments` are SGLang's, and
    `machine` is what else a rank's modules hang on, such as its number and the architecture.
    """
    folder = os.environ.get(SURVEYS)
    if not folder:
        return None
    key = {
        "arguments": {
            name: value
            for name, value in arguments.items()
            if name != "model_path" and not name.endswith(_BACKEND)
        },
        "files": {
            path.relative_to(model).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in model.rglob("*")
            if path.is_file()
        },
        "machine": machine,
        "versions": {"kerneldefs": kerneldefs.__version__, **installed_versions()},
    }
    return Path(folder) / f"{digest(key)}.json"


def read_survey(path: Path | None, count: int) -> Survey | None:
    """Return the kept survey of `count` layers; None where there is none, or only a damaged one."""
    if path is None or not path.is_file():
        return None
    try:
        found = read_json(path)
    except (OSError, KerneldefsError) as error:
        print(f"surveying anew: {error}", flush=True)
        return None
    if not _is_survey(found) or len(found["kinds"]) != count:
        print(f"surveying anew: {path} is no survey of {count} layers", flush=True)
        return None
    return Survey.from_json(found)


def _is_survey(data: Any) -> bool:
    return (
        isinstance(data, dict)
        and set(data) == {"kinds", "ignored"}
        and all(isinstance(value, list) for value in data.values())
        and all(isinstance(item, str) for value in data.values() for item in value)
    )


def keep_survey(path: Path | None, found: Survey) -> None:
    """Keep a survey; that it cannot be costs the next capture time, and is said."""
    if path is None:
        return
    try:
        write_json(path, found.to_json())
    except OSError as error:
        print(f"the survey is not kept: {error}", flush=True)
