"""One call of Snakemake, from its command line to the last line that it prints."""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from kerneldefs.errors import KerneldefsError
from kerneldefs.files import lock
from kerneldefs.leftovers import failed_captures
from kerneldefs.plan import Run

_HELD: list[object] = []  # locks that end with this process
_CHATTER = re.compile(r"Select jobs to execute\.\.\.|Execute \d+ jobs\.\.\.")


def is_dry_run(arguments: Sequence[str]) -> bool:
    """Whether Snakemake's command line asks for a dry run, which a Snakefile is not told."""
    return any(
        word.startswith("--dry") or re.fullmatch(r"-[A-Za-z]*n[A-Za-z]*", word)
        for word in arguments
    )


def shell_prefix(deployment_methods: Iterable[object], python: str = "python") -> str:
    """Return what precedes every shell command, so that `python` is the one Snakemake runs in.

    Where Snakemake makes the rules' environments itself, theirs is the right one already. `python`
    is the interpreter that captures. It stands here and in no rule, since only what it has
    installed, not where it is, may rerun a capture.

    What is imported is kept compiled, also where the caller's environment (a container's, often)
    says not to: compiling SGLang again makes a capture take twice as long.
    """
    prefix = f"set -euo pipefail; CAPTURE_PYTHON={shlex.quote(python)}; "
    prefix += "export PYTHONDONTWRITEBYTECODE=; "
    if not list(deployment_methods):
        prefix += f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"; '
    return prefix.replace("{", "{{").replace("}", "}}")


def prepare_publish(run: Run, *, dry_run: bool) -> None:
    """Refuse a destination before anything runs; print what a dry run would publish of last time.

    Raises KerneldefsError without a dataset, or with a folder that is none.
    """
    from kerneldefs.publish.plan import destination, plan
    from kerneldefs.publish.text import plan_lines

    dataset = run.settings.dataset
    if dataset is None:
        raise KerneldefsError(
            "publish: no dataset is set; give the clone to add to: --config dataset=PATH"
        )
    destination(dataset)
    staged = [Path(folder) for folder in run.results_folders()]
    if dry_run and all((folder / "report.json").is_file() for folder in staged):
        for line in plan_lines(plan(staged, dataset), dataset, dry_run):
            print(line, file=sys.stderr)


def prepare(run: Run, *, dry_run: bool) -> None:
    """Remove what an interrupted run wrote down as failed captures, so that they are planned again.

    Not while another run works on these results: it has yet to report them. A dry run says that
    its plan lacks them.
    """
    failed = _failed_captures(run)
    if failed and dry_run:
        count = f"captures that failed in an interrupted run: {len(failed)}"
        print(f"{count}; a run makes them again, beside this plan", file=sys.stderr)
    elif failed:
        with contextlib.suppress(KerneldefsError), _lock(run):
            _remove_failed(run)


def hush(logger: logging.Logger) -> None:
    """Keep off the terminal the two lines that each choice of jobs has, which no setting silences.

    Snakemake's own log file keeps them.
    """
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(lambda record: not _CHATTER.fullmatch(record.getMessage()))


def start(run: Run) -> None:
    """Lock the results for this process.

    Snakemake's own lock is of a working directory; two of those may share one results directory.

    Raises KerneldefsError where another run has them, or where they cannot be written.
    """
    _HELD.append(_lock(run))


def end(run: Run, *, failed: bool, published: bool = False) -> None:
    """Print what a run came to, and remove the captures that failed: the next run makes them.

    Raises KerneldefsError where some failed in a run that ended well: one of captures alone.
    """
    from kerneldefs.page.summary import show  # 0.1 s, and a dry run has no end

    show(run.settings.results, run.plans, failed, published)
    removed = _remove_failed(run)
    if removed and not failed:
        names = ", ".join(str(folder) for folder in removed)
        raise KerneldefsError(f"captures failed: {names}; mend what their logs say, and run again")


def _lock(run: Run) -> IO[str]:
    return lock(run.settings.results / ".lock")


def _failed_captures(run: Run) -> list[Path]:
    return failed_captures(map(Path, run.per_config("dumps")))


def _remove_failed(run: Run) -> list[Path]:
    failed = _failed_captures(run)
    for folder in failed:
        shutil.rmtree(folder)
    return failed
