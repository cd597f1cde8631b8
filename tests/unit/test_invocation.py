"""What is told from Snakemake's command line, and what its jobs are run with."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from kerneldefs import invocation


@pytest.mark.parametrize(
    ("words", "dry"),
    [
        (["-n"], True),
        (["-pn", "--cores", "2"], True),
        (["--dry-run"], True),
        (["--dryrun"], True),
        (["--cores", "2", "--config", "model=n"], False),
        (["--notemp", "-p"], False),
        ([], False),
    ],
)
def test_dry_runs_are_recognised(words: list[str], dry: bool) -> None:
    assert invocation.is_dry_run(words) is dry


def test_shell_commands_run_snakemakes_own_python() -> None:
    prefix = invocation.shell_prefix([]).format()  # Snakemake formats it
    done = subprocess.run(
        ["bash", "-c", f"{prefix}python -c 'import sys; print(sys.prefix)'"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == sys.prefix
    assert "PATH" not in invocation.shell_prefix(["conda"])
    for methods in ([], ["conda"]):
        command = f"{invocation.shell_prefix(methods).format()}false | true; echo survived"
        assert subprocess.run(["bash", "-c", command], check=False).returncode != 0


def test_shell_prefix_survives_odd_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/odd {folder}/bin/python")
    words = shlex.split(invocation.shell_prefix([]).format())
    assert "PATH=/odd {folder}/bin:$PATH;" in words
    words = shlex.split(invocation.shell_prefix(["conda"], "/odd {x}/python").format())
    assert "CAPTURE_PYTHON=/odd {x}/python;" in words
