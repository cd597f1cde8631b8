"""How an engine fails, and what its user can do about it: from its exceptions and its log."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from kerneldefs.capture.engine.places import FAILURES
from kerneldefs.capture.refusal import refuser_of, sentence_of


@dataclasses.dataclass(frozen=True)
class Kind:
    """One way to fail: how it shows, what to tell the user, and how to try once more."""

    name: str
    shows: str  # regular expression
    advice: str
    retry: dict[str, Any] | None = None  # server arguments to change for the second try


MEMORY = 0.5  # mem_fraction_static of the first try
MEMORY_LEAST = 0.3  # and of the second

_KINDS = (
    Kind(
        "kernel compilation",
        r"ninja: build stopped|Ninja build failed|nvcc fatal|nvcc: not found|CompilationError"
        r"|Could not find nvcc|CUDA_HOME",
        "a kernel could not be compiled; see the compiler's message in the log, check that nvcc's "
        "release matches torch's CUDA, and that the kernel cache is writable",
    ),
    Kind(
        "GPU out of memory",
        r"OutOfMemoryError|CUDA out of memory|CUBLAS_STATUS_ALLOC_FAILED",
        "the GPU has too little memory for the model's distinct layers; use a larger tp, a GPU "
        "with more memory, or backend=simulate",
        {"mem_fraction_static": MEMORY_LEAST},
    ),
    Kind(
        "no memory for the KV cache",
        r"Not enough memory\b.*mem[-_]fraction[-_]static|increas\w+ .?--mem-fraction-static",
        "the weights leave no room for a KV cache; use a larger tp, a GPU with more memory, or "
        "backend=simulate",
        {"mem_fraction_static": 0.88},
    ),
    Kind(
        "port in use",
        r"EADDRINUSE|[Aa]ddress already in use",
        "a port that the engine wanted was taken twice; run the capture again",
        {},
    ),
    Kind(
        "NCCL",
        r"NCCL error|ncclSystemError|ncclUnhandledCudaError|ncclRemoteError|DistBackendError",
        "the GPUs cannot talk to each other; run with NCCL_DEBUG=INFO, or use backend=simulate",
    ),
    Kind(
        "remote code",
        r"trust[-_]remote[-_]code",
        "the model needs the Python code of its repository; set trust_remote_code=true if you "
        "trust it",
    ),
    Kind(
        "driver",
        r"Found no NVIDIA driver|no CUDA-capable device|driver version is insufficient"
        r"|CUDA driver initialization failed",
        "CUDA finds no GPU that it can use; check nvidia-smi and the driver, or use "
        "backend=simulate",
    ),
    Kind(
        "missing download",
        r"LocalEntryNotFoundError|OfflineModeIsEnabled|offline mode|Unable to download cubin"
        r"|FLASHINFER_NO_DOWNLOAD",
        "the engine wanted to download something and may not; docs/cluster.md says what has to be "
        "there before; scripts/fetch_for_gpus.py fetches FlashInfer's cubins and the weights",
    ),
    Kind(
        "killed",
        r"exit code: -9|SIGKILL",
        "a process of the engine was killed, most often by the operating system for its memory; "
        "grant the job more memory",
    ),
)
UNKNOWN = Kind("unknown", "", "see the engine's log")


def exceptions(folder: Path) -> list[dict[str, Any]]:
    """Return what the engine's processes said of their own failure, oldest first."""
    paths = sorted((folder / FAILURES).glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def refusal(folder: Path) -> str | None:
    """Return SGLang's sentence where it refuses to serve the model this way; None otherwise."""
    for error in exceptions(folder):
        if kind_of(f"{error['type']}: {error['text']}") is not UNKNOWN:
            return None
        refuser = refuser_of(error)
        if refuser is not None:
            return f"{refuser}: {sentence_of(error)}"
    return None


def kind_of(text: str) -> Kind:
    """Return the first kind of failure that a text shows."""
    return next((kind for kind in _KINDS if re.search(kind.shows, text)), UNKNOWN)


def diagnose(folder: Path, log: str) -> tuple[Kind, str]:
    """Return how an engine failed and a sentence: an exception it left says more than its log."""
    for error in exceptions(folder):
        text = f"{error['type']}: {sentence_of(error)}"
        kind = kind_of(f"{error['type']}: {error['text']}")
        return kind, f"{kind.name}: {text}; {kind.advice}" if kind is not UNKNOWN else text
    kind = kind_of(log)
    said = _last_error(log)
    return kind, f"{kind.name}: {said}; {kind.advice}"


def _last_error(log: str) -> str:
    """Return the log's last line that names an exception, shortened."""
    lines = re.findall(r"^[\w.]*(?:Error|Exception)\b.*$", log, re.MULTILINE)
    return " ".join(lines[-1].split())[:300] if lines else "it ended without a word"
