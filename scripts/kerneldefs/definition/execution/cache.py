"""Outcomes by content: what has run with the same torch and the same checks is not run again."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from kerneldefs.definition.execution.limits import Outcome
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json, write_json


def key(definition: Mapping[str, Any], budget: int) -> str:
    """Return the sha256 of what decides an outcome: the definition without its tags, in order,
    torch's version, the source of this package and the memory that inputs may take.
    """
    content = {name: value for name, value in definition.items() if name != "tags"}
    parts = [json.dumps(content), torch_version(), code_version(), str(budget)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@functools.cache
def torch_version() -> str:
    """Return the installed torch's version, without importing it."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        raise KerneldefsError(
            "torch is not installed, so references cannot be run; go on without running them"
        ) from None


@functools.cache
def code_version() -> str:
    """Return a digest of this package's source."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()


class Cache:
    """A folder of outcomes; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, key: str) -> Outcome | None:
        """Return a kept outcome; a damaged one counts as none."""
        if self._folder is None:
            return None
        try:
            return Outcome.from_json(read_json(self._path(key)))
        except (KerneldefsError, ValueError, OSError):
            return None

    def put(self, key: str, outcome: Outcome) -> None:
        """Keep an outcome, unless a limit or an accident decided it."""
        if self._folder is not None and outcome.lasting:
            write_json(self._path(key), outcome.to_json())

    def known(self, keys: Iterable[str]) -> dict[str, Outcome]:
        """Return the outcomes that are kept of some."""
        found = {key: self.get(key) for key in keys}
        return {key: outcome for key, outcome in found.items() if outcome is not None}

    @contextlib.contextmanager
    def claimed(self, keys: Sequence[str]) -> Iterator[list[str]]:
        """Yield those of some references that no other process runs, and keep others off them.

        Waits for the first where others run all of them.
        """
        if self._folder is None:
            yield list(keys)
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / ".lock", "w", encoding="utf-8") as lock:
            mine = [key for key in keys if _claim(lock, key)]
            if not mine:
                mine = [key for key in keys[:1] if _claim(lock, key, wait=True)]
            yield mine

    def _path(self, key: str) -> Path:
        return Path(self._folder or ".") / key[:2] / f"{key}.json"


def _claim(lock: IO[str], key: str, *, wait: bool = False) -> bool:
    """Lock the byte of the lock file that stands for a key, until the file is closed."""
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, int(key[:12], 16))
    except (BlockingIOError, PermissionError):  # which of the two depends on the system
        return False
    return True
