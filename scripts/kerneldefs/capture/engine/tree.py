"""All processes of one engine, found and ended together, whatever becomes of their parents.

A parent's children are not enough: a scheduler whose parent died belongs to nobody, and keeps its
GPU memory. So the engine's first process leads a session of its own, which everything that it
starts stays in; and the environment of that first process carries a mark, by which it is found
before anybody knows its session, and by which what left the session is found. The mark alone is not
enough either: SGLang's schedulers overwrite their environment when they rename themselves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil

from kerneldefs.capture.engine.places import MARK

_SCRIPTS = Path(__file__).resolve().parents[3]


@dataclasses.dataclass
class Tree:
    """The processes of the engine with a mark, and of its session once it is known."""

    mark: str
    session: int | None = None

    def running(self) -> list[psutil.Process]:
        """Return this user's processes that belong to the engine and are not dead yet."""
        found = set()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and self._owns(process):
                    found |= {process, *process.children(recursive=True)}
        return [process for process in found if _status(process) != psutil.STATUS_ZOMBIE]

    def _owns(self, process: psutil.Process) -> bool:
        if self.session is not None and os.getsid(process.pid) == self.session:
            return True
        return bool(process.environ().get(MARK) == self.mark)

    def end(self, seconds: float = 30.0) -> list[int]:
        """Kill every process of the engine; return the pids that are still there at the end.

        Asks again until none is left: one that is just being started is missed the first time.
        """
        deadline = time.monotonic() + seconds
        while left := self.running():
            if time.monotonic() > deadline:
                break
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=1.0)
        return [process.pid for process in left]


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_ZOMBIE)


class Guard:
    """A process beside this one that ends the engine when this one is gone, even by SIGKILL.

    It waits for the end of a pipe that only this process holds open.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kerneldefs.capture.engine.tree", tree.mark],
            cwd=_SCRIPTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # what is sent to this process's group must not end it
        )

    def started(self, session: int) -> None:
        """Tell the engine's session, as soon as its first process is there."""
        self._tree.session = session
        with contextlib.suppress(BrokenPipeError):  # somebody ended the guard
            self._stdin.write(b"%d\n" % session)
            self._stdin.flush()

    def dismiss(self) -> None:
        """End the guard: the engine has ended."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin


@contextlib.contextmanager
def guarded(tree: Tree) -> Iterator[Guard]:
    """Guard an engine's processes as long as this block runs."""
    guard = Guard(tree)
    try:
        yield guard
    finally:
        guard.dismiss()


def watch(mark: str, pipe: IO[bytes]) -> None:
    """Be the guard: end the engine when the other end of the pipe is closed."""
    told = pipe.read().split()
    Tree(mark, int(told[-1]) if told else None).end()


if __name__ == "__main__":
    watch(sys.argv[1], sys.stdin.buffer)
