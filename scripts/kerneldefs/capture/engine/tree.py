"""All processes of one engine: found by the mark in their environment, and ended together.

A parent's children are not enough: a scheduler whose parent died belongs to nobody, and keeps its
GPU memory.
"""

from __future__ import annotations

import contextlib
import os
import time

import psutil

from kerneldefs.capture.engine.places import MARK


def marked(mark: str) -> list[psutil.Process]:
    """Return this user's processes that carry the mark, this process apart."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def end(mark: str, seconds: float = 30.0) -> list[int]:
    """Kill every process that carries the mark; return the pids that are still there at the end.

    Asks again until none is left: one that is just being started is missed the first time.
    """
    deadline = time.monotonic() + seconds
    while left := _running(mark):
        if time.monotonic() > deadline:
            break
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=1.0)
    return [process.pid for process in left]


def _running(mark: str) -> list[psutil.Process]:
    return [p for p in marked(mark) if _status(p) != psutil.STATUS_ZOMBIE]


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_ZOMBIE)
