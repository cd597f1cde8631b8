"""What every command in scripts/ shares: a failure becomes a sentence and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from kerneldefs.errors import KerneldefsError

INTERRUPTED = 130  # what a shell reports for a process that Ctrl-C ended


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


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command's `main` and exit with its code; a bug keeps its traceback."""
    sys.exit(exit_code(main))
