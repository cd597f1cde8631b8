"""How many layers of a model a capture keeps: told from the modules that SGLang builds.

SGLang builds the whole model once, in a forked process that ends there, and its layers' kinds are
told apart (simulate/kinds.py). The capture keeps the leading layers that hold one of every kind,
and checks that the cut model has the same kinds as the whole one. Where the survey of the same
model with another attention backend was kept, only the cut model is built to see whether it holds.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from kerneldefs.capture.layers import Cut, keep_leading, layer_count
from kerneldefs.capture.simulate.kept import keep_survey, read_survey
from kerneldefs.capture.simulate.kinds import Survey, survey
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json, write_text

_PARENT_DIED = 1  # PR_SET_PDEATHSIG


class _Built(Exception):
    """Ends loading where the model is built."""


@contextlib.contextmanager
def when_built(then: Callable[[torch.nn.Module], None]) -> Iterator[None]:
    """Call `then(model)` when SGLang has built its model and before it gets weights."""
    from sglang.srt.model_loader import loader

    build = loader._initialize_model

    def initialize(*args: Any, **kwargs: Any) -> Any:
        model = build(*args, **kwargs)
        then(model)
        return model

    loader._initialize_model = initialize
    try:
        yield
    finally:
        loader._initialize_model = build


def survey_apart(
    load: Callable[[], Any], look: Callable[[torch.nn.Module], Survey]
) -> Survey | None:
    """Return what `look` sees in the model that `load` builds, in a process that ends there.

    None where it was not built: the capture will meet the same refusal or failure, and report it.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _build_and_tell(load, look, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return Survey.from_json(json.loads(answer)) if answer else None


def _build_and_tell(
    load: Callable[[], Any], look: Callable[[torch.nn.Module], Survey], writing: int
) -> None:
    """Be the forked process: build, tell what is seen, end."""
    try:
        ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
        quiet = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(quiet, stream)

        def tell(model: torch.nn.Module) -> None:
            found = look(model).to_json()
            with os.fdopen(writing, "w") as pipe:
                pipe.write(json.dumps(found))
            raise _Built

        with when_built(tell):
            load()
    finally:
        os._exit(0)


def _server_arguments() -> list[str]:
    from sglang.srt.server_args import ServerArgs

    return list(inspect.signature(ServerArgs).parameters)


def check_cut(whole: Survey, kept: int) -> Callable[[torch.nn.Module], None]:
    """Return a check for `when_built`: the cut model's layers are of the whole model's kinds."""

    def check(model: torch.nn.Module) -> None:
        cut = survey(model, kept, whole.ignored)
        missing = set(whole.kinds) ^ set(cut.kinds)
        if missing:
            raise KerneldefsError(
                f"the model cut to {kept} of {len(whole.kinds)} layers has other kinds of layers "
                f"than the whole one ({len(set(cut.kinds))} instead of {len(set(whole.kinds))}); "
                "teach kerneldefs/capture/layers.py the per-layer entry that its config.json has"
            )

    return check


def cut_model(
    model: Path, load: Callable[[], Any], kept: Path | None = None
) -> tuple[Cut, Callable[[torch.nn.Module], None]]:
    """Cut config.json in the directory `model` to the layers that hold one of every kind.

    `load` loads the model in that directory. `kept` is the file that this model's survey is or will
    be kept in. Returns the cut, and the check for `when_built`.
    """
    path = model / "config.json"
    config = read_json(path)
    count = layer_count(config)
    whole = read_survey(kept, count)
    if whole is None or not _holds(whole, path, config, load):
        whole = survey_apart(
            load, lambda built: survey(built, count, arguments=_server_arguments())
        )
        if whole is None or not whole.kinds:
            return Cut(count, count), lambda built: None
        keep_survey(kept, whole)
        _write_cut(path, config, whole.needed())
    return Cut(whole.needed(), count, len(set(whole.kinds))), check_cut(whole, whole.needed())


def _holds(whole: Survey, path: Path, config: dict[str, Any], load: Callable[[], Any]) -> bool:
    """Cut config.json as a kept survey says, if the layers of that cut are as the survey says.

    What is not looked at are the layers that the cut leaves out: an attention backend that made a
    difference there, and none in any layer that is kept, would go unnoticed.
    """
    kept = whole.needed()
    if kept == len(whole.kinds):
        return False  # the whole model is to be built anyway, and is surveyed then
    text = path.read_text(encoding="utf-8")
    _write_cut(path, config, kept)
    cut = survey_apart(load, lambda built: survey(built, kept, whole.ignored))
    if cut is not None and cut.kinds == whole.of_cut(kept):
        return True
    print("the kept survey of this model does not hold with this attention backend", flush=True)
    write_text(path, text)
    return False


def _write_cut(path: Path, config: dict[str, Any], kept: int) -> None:
    if kept < layer_count(config):
        # json.dumps, not canonical JSON: published configs hold Infinity (Mamba's step limit).
        write_text(path, json.dumps(keep_leading(config, kept), indent=2) + "\n")
