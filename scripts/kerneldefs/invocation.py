"""One call of Snakemake, from its command line to the last line that it prints."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from kerneldefs.errors import KerneldefsError
from kerneldefs.plan import Run

HELD: list[object] = []  # locks that end with this process


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
    """
    prefix = f"set -euo pipefail; CAPTURE_PYTHON={shlex.quote(python)}; "
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


def show_summary(run: Run, *, failed: bool = False) -> None:
    """Print what a run came to at its end."""
    from kerneldefs.page.summary import show  # 0.1 s, and a dry run has no end

    show(run.settings.results, run.plans, failed)
