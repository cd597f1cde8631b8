"""One capture by SGLang's engine: its processes started, watched and ended, its finds gathered."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kerneldefs.capture import ranks
from kerneldefs.capture.engine import gpus
from kerneldefs.capture.engine.environment import engine_environment, write_plugin
from kerneldefs.capture.engine.failures import MEMORY, MEMORY_LEAST, Kind, diagnose, refusal
from kerneldefs.capture.engine.places import (
    DONE_FILE,
    FINISHED_FILE,
    RANK_FILE,
    REQUEST_FILE,
    rank_folder,
)
from kerneldefs.capture.engine.tree import Guard, Tree, guarded
from kerneldefs.capture.engine.weights import Weights
from kerneldefs.capture.server import server_arguments
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json, write_json
from kerneldefs.serving.config import ServingConfig

_PROCESS = [sys.executable, "-m", "kerneldefs.capture.engine.process"]
GRANTED = "KERNELDEFS_GRANTED_GPUS"  # how many GPUs the workflow's job was given
LIMIT = 1800.0  # seconds: a cold kernel cache takes minutes


@dataclasses.dataclass(frozen=True)
class Options:
    """How to run an engine: with which weights (None for dummy ones), and for how long."""

    weights: Weights | None = None
    cubins: Path | None = None  # the folder of FlashInfer's precompiled kernels
    limit: float = LIMIT
    command: tuple[str, ...] = tuple(_PROCESS)


class Refused(Exception):
    """SGLang refuses to serve the model this way; the text is its sentence."""


class Failed(KerneldefsError):
    """The engine failed; what it had dumped stays in the capture's folder as evidence."""


def capture(
    config: ServingConfig, model: Path, out: Path, options: Options | None = None
) -> dict[str, Any]:
    """Capture one config into the empty directory `out`; returns what capture.json says of it.

    Raises Refused, or Failed with a sentence; then `out` holds what was seen before.
    """
    options = options or Options()
    same = available(config)
    with gpus.reserved(same, config.tp, options.limit) as held:
        least, fraction = MEMORY_LEAST, MEMORY
        if options.weights is not None:
            least, fraction = options.weights.memory(held[0].total, config.tp)
        gpus.check_memory(held, fraction)
        arguments = server_arguments(config, model) | {
            "load_format": "dummy" if options.weights is None else "auto",
            "disable_overlap_schedule": True,  # a step's sampling belongs to the step
            "disable_radix_cache": False,  # so that a request can extend a cached prefix
            "mem_fraction_static": fraction,
        }
        found = _tried(config, arguments, out, held, options, least)
    return found | {
        "arguments": {**arguments, **found["arguments"], "model_path": config.repo_id},
        "hardware": _hardware(held),
    }


def available(config: ServingConfig) -> list[gpus.Gpu]:
    """Return the GPUs here that can serve a config; too few, granted or there, are an error."""
    _check_granted(config)
    return gpus.usable(gpus.visible(), config.tp, config.arch)


def _check_granted(config: ServingConfig) -> None:
    """Refuse what a scheduler silently granted less of: `--resources gpu=4` clamps a job of 8."""
    granted = os.environ.get(GRANTED)
    if granted is not None and granted.isdigit() and int(granted) < config.tp:
        raise KerneldefsError(
            f"{config.id}: this config needs {config.tp} GPUs and the job was granted {granted}; "
            "raise `--resources gpu=`, or use backend=simulate"
        )


def _tried(
    config: ServingConfig,
    arguments: dict[str, Any],
    out: Path,
    held: list[gpus.Gpu],
    options: Options,
    least: float,
) -> dict[str, Any]:
    """Run the engine, and once more with other arguments where its failure says which."""
    deadline = time.monotonic() + options.limit
    changed: dict[str, Any] = {}
    for attempt in (1, 2):
        kind, sentence = _run(config, arguments | changed, out, held, options, deadline)
        if kind is None:
            return _findings(config, out) | {"arguments": changed, "attempts": attempt}
        changed = dict(kind.retry or {})
        if "mem_fraction_static" in changed:  # never less than the weights take
            changed["mem_fraction_static"] = max(changed["mem_fraction_static"], least)
        pointless = changed and changed.items() <= arguments.items()
        if kind.retry is None or pointless or attempt == 2:
            raise Failed(f"{config.id}: {sentence}")
        print(f"{config.id}: {sentence}; trying once more with {changed}", flush=True)
        _clear(out)
    raise AssertionError("unreachable")


def _run(
    config: ServingConfig,
    arguments: dict[str, Any],
    out: Path,
    held: list[gpus.Gpu],
    options: Options,
    deadline: float,
) -> tuple[Kind | None, str]:
    """Run the engine's process until it ends or its time is up; return how it failed, if it did."""
    tree = Tree(mark=uuid.uuid4().hex)
    write_json(out / REQUEST_FILE, {"arguments": arguments, "ranks": config.tp})
    with tempfile.TemporaryDirectory(prefix="kerneldefs-") as scratch:
        plugin = Path(scratch)
        write_plugin(plugin)
        environment = engine_environment(
            out, plugin, [gpu.token for gpu in held], tree.mark, options.cubins
        )
        with guarded(tree) as guard:
            with _ended_with_us(tree):
                log, code = _watched([*options.command, str(out)], environment, deadline, guard)
            left = tree.end()
    if left:
        pids = ", ".join(map(str, left))
        raise Failed(f"{config.id}: processes of the engine cannot be killed: {pids}")
    if code is None:
        kind = Kind("time", "", "")
        return kind, (
            f"the engine was not done in {options.limit:.0f} s and was ended; the log says "
            "where it stood; raise the time limit if kernels were still being compiled"
        )
    if (out / DONE_FILE).exists():
        return None, ""
    said = refusal(out)
    if said is not None:
        raise Refused(said)
    return diagnose(out, log)


def _watched(
    command: list[str], environment: dict[str, str], deadline: float, guard: Guard
) -> tuple[str, int | None]:
    """Run a command, its output passed on; return the output and its exit code, None in time."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    guard.started(process.pid)
    lines: list[str] = []

    def follow() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            print(line, end="", flush=True)

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    try:
        code: int | None = process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        code = None
        process.kill()
    reader.join(5.0)  # a process that outlives its parent may hold the pipe
    return "".join(lines), code


@contextlib.contextmanager
def _ended_with_us(tree: Tree) -> Iterator[None]:
    """End the engine when this process is told to end, or is interrupted."""

    def stop(number: int, frame: types.FrameType | None) -> None:
        tree.end()
        raise SystemExit(128 + number)

    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, stop) if in_main_thread else None
    try:
        yield
    except BaseException:
        tree.end()
        raise
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, previous)


def _findings(config: ServingConfig, out: Path) -> dict[str, Any]:
    """Check that every rank wrote all of it, and unite what they wrote."""
    silent = [
        str(rank)
        for rank in range(config.tp)
        if not (rank_folder(out, rank) / FINISHED_FILE).exists()
    ]
    if silent:
        raise Failed(
            f"{config.id}: rank {', '.join(silent)} recorded nothing: SGLang's plugin loader did "
            "not reach it; see the log"
        )
    picked = [read_json(rank_folder(out, rank) / RANK_FILE) for rank in range(config.tp)]
    _check_backend(config, picked[0])
    seconds = read_json(out / DONE_FILE)
    _clear(out, keep="rank*")
    ranks.unite_templates(out)
    union = ranks.unite(out)
    for rank in range(config.tp):
        for name in (FINISHED_FILE, RANK_FILE):
            (rank_folder(out, rank) / name).unlink()
    return {
        "attention_backend": picked[0]["attention_backend"],
        "backends": {key: picked[0][key] for key in ("prefill", "decode")},
        "warnings": sorted({text for found in picked for text in found["warnings"]}),
        "ranks": list(union.ranks),
        "only_some_ranks": union.partial,
        "seconds": seconds,
        "guesses": {},
        "skipped": {},
        "stubbed": [],
    }


def _check_backend(config: ServingConfig, picked: dict[str, Any]) -> None:
    """Refuse a capture with another attention backend than asked for: it is another config's."""
    asked = config.attention_backend
    got = {picked[key] for key in ("prefill", "decode") if picked[key] is not None}
    if asked is not None and got and got != {asked}:
        raise Failed(
            f"{config.id}: asked for attention backend {asked}, and SGLang picked "
            f"{', '.join(sorted(got))}; ask for that one, or for none"
        )


def _clear(out: Path, keep: str = "") -> None:
    """Remove what is in the capture's folder, except what a pattern keeps."""
    for path in out.iterdir():
        if keep and path.match(keep):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _hardware(held: list[gpus.Gpu]) -> dict[str, Any]:
    """What the capture ran on: part of what it proves."""
    return {
        "gpu": held[0].name,
        "arch": held[0].arch,
        "count": len(held),
        "memory_gib": math.ceil(held[0].total / 2**30),
        "machine": platform.machine(),
    }
