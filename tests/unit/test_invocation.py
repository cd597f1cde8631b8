"""What is told from Snakemake's command line, and what its jobs are run with."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from kerneldefs import invocation, plan
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import lock, write_json


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


def test_shell_commands_keep_what_they_import_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    command = "python -c 'import sys; print(sys.dont_write_bytecode)'"
    command = f"{invocation.shell_prefix([]).format()}{command}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_shell_prefix_survives_odd_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/odd {folder}/bin/python")
    words = shlex.split(invocation.shell_prefix([]).format())
    assert "PATH=/odd {folder}/bin:$PATH;" in words
    words = shlex.split(invocation.shell_prefix(["conda"], "/odd {x}/python").format())
    assert "CAPTURE_PYTHON=/odd {x}/python;" in words


@pytest.mark.parametrize(
    ("name", "shown"), [("DefaultStreamHandler", ["Finished"]), ("another", None)]
)
def test_choices_of_jobs_stay_off_the_terminal(name: str, shown: list[str] | None) -> None:
    said = ["Select jobs to execute...", "Execute 2 jobs...", "Finished"]
    seen: list[str] = []
    handler = logging.Handler()
    handler.name = name
    handler.emit = lambda record: seen.append(record.getMessage())
    logger = logging.Logger("of Snakemake")
    logger.addHandler(handler)
    invocation.hush(logger)
    for line in said:
        logger.info(line)
    assert seen == (shown or said)


@pytest.fixture
def run(tmp_path: Path) -> plan.Run:
    """A run that was cut off after one of its two captures failed."""
    settings = {"model": "llama-3.1-8b", "hardware": "H200", "results": str(tmp_path)}
    run = plan.load(settings, may_fetch=False)
    for folder, status in zip(run.per_config("dumps"), ("failed", "captured"), strict=True):
        write_json(Path(folder) / "capture.json", {"status": status, "reason": "why"})
    return run


def captures(run: plan.Run) -> list[str]:
    """The configs that have a capture directory."""
    return [path for path in run.per_config("dumps") if Path(path).exists()]


def test_a_capture_that_failed_before_is_planned_again(run: plan.Run) -> None:
    invocation.prepare(run, dry_run=False)
    assert captures(run) == run.per_config("dumps")[1:]


def test_a_dry_run_removes_no_failed_capture_and_names_it(
    run: plan.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    invocation.prepare(run, dry_run=True)
    assert captures(run) == run.per_config("dumps")
    assert capsys.readouterr().err.startswith("captures that failed in an interrupted run: 1;")


def test_a_failed_capture_of_a_run_that_goes_on_is_left_to_it(run: plan.Run) -> None:
    with lock(run.settings.results / ".lock"):
        invocation.prepare(run, dry_run=False)
    assert captures(run) == run.per_config("dumps")


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_capture_that_cannot_be_read_is_left_to_its_reader(run: plan.Run, text: str) -> None:
    (Path(run.per_config("dumps")[0]) / "capture.json").write_text(text)
    invocation.prepare(run, dry_run=False)
    assert captures(run) == run.per_config("dumps")


def test_the_end_of_a_run_removes_failed_captures(run: plan.Run) -> None:
    with pytest.raises(KerneldefsError, match=f"captures failed: {run.per_config('dumps')[0]};"):
        invocation.end(run, failed=False)
    assert captures(run) == run.per_config("dumps")[1:]
    invocation.end(run, failed=False)
