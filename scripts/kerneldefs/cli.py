"""What every command in scripts/ shares: failures as sentences, --version, signs of life."""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

from kerneldefs import __version__
from kerneldefs.errors import KerneldefsError

OWNER = "KERNELDEFS_WORKER_OWNER"  # "{host}:{pid}" of the process that workers belong to
INTERRUPTED = 130  # what a shell reports for a process that Ctrl-C ended
_QUIET_SECONDS = 30.0  # between two signs of life where no terminal shows a clock
_forked = False  # whether this process is a worker's fork


def exit_code(main: Callable[[], int | None]) -> int:
    """Run a command's `main` and return its code (None is 0); a KerneldefsError is 1.

    Only the error's one line is printed, to stderr. Any other exception is a bug and is passed on.
    """
    try:
        return main() or 0
    except KerneldefsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def run(main: Callable[[], int | None], *, in_worker: bool = False) -> NoReturn:
    """Run a command's `main` and exit with its code; a bug keeps its traceback.

    `--version` alone prints the version, of every command. With `in_worker`, and an owner of
    workers in the environment, a process that has imported everything is forked for the command.
    """
    if sys.argv[1:] == ["--version"]:
        print(f"kerneldefs {__version__}")
        sys.exit(0)
    sys.exit(exit_code(lambda: _in_worker(main) if in_worker else main()))


def _in_worker(main: Callable[[], int | None]) -> int | None:
    if OWNER in os.environ and not _forked:
        from kerneldefs.commands import WORKER

        code = WORKER.run(sys.argv)
        if code is not None:
            return code
    return main()


def run_script(arguments: list[str]) -> int:
    """Be a script in the fork of a worker: [its path, its arguments...]; return its exit code."""
    global _forked
    _forked = True
    sys.argv = arguments
    try:
        runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@contextlib.contextmanager
def waiting(what: str, seconds: float = _QUIET_SECONDS) -> Iterator[None]:
    """Show on stderr that something long goes on, and for how long already.

    A terminal gets a running clock; a log a line now and then.
    """
    if sys.stderr.isatty():
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, transient=True, redirect_stdout=False) as progress:
            progress.add_task(what, total=None)
            yield
        return
    done = threading.Event()
    started = time.monotonic()

    def report() -> None:
        while not done.wait(seconds):
            print(f"{what}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
