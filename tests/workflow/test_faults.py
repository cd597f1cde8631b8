"""Whatever goes wrong, at whatever moment: no half file under a final name, a sentence that says
what to do, and a next run that finishes the job. docs/faults.md has the table."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Project, new_project

CONFIG = "h200-tp8-fp8-auto"
SECONDS = 120

# Put into the project's files.py: whoever is about to give the directory named in HANG its final
# name writes down its process id instead, and waits to be killed.
HANG = """
        import time
        if Path("HANG").exists() and Path("HANG").read_text() == path.name:
            Path("HUNG").write_text(str(os.getpid()))
            time.sleep(600)
"""
FINAL = "        os.chmod(temporary, 0o755)\n        if path.exists():\n"


@pytest.fixture
def hanging(quick: Project) -> Project:
    """A finished project in which a writer can be made to hang before its last step."""
    quick.edit("scripts/kerneldefs/files.py", FINAL, HANG.lstrip("\n") + FINAL)
    return quick


def start(project: Project, name: str, config: str = "model=kimi-k2") -> subprocess.Popen[str]:
    """Start a run, and wait until the writer of the directory `name` hangs."""
    (project.folder / "HANG").write_text(name)
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--config", *config.split()],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: (project.folder / "HUNG").exists())
    (project.folder / "HANG").unlink()
    return process


def hung(project: Project) -> int:
    wait_until(lambda: (project.folder / "HUNG").read_text())
    return int((project.folder / "HUNG").read_text())


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def hidden(project: Project) -> list[Path]:
    """Temporary files and folders in the model's results."""
    found = (path for path in project.path("").rglob(".*") if path.suffix in (".new", ".old"))
    return sorted(found)


def whole(project: Project) -> None:
    """No JSON file under a final name is half a file, and every capture is complete."""
    for path in project.path("").rglob("*.json"):
        if not any(part.startswith(".") for part in path.relative_to(project.folder).parts):
            json.loads(path.read_text())
    for folder in project.path("dumps").glob("*"):
        assert folder.name.startswith(".") or (folder / "capture.json").exists()


@pytest.mark.parametrize(
    ("directory", "damaged"),
    [
        (f"dumps/{CONFIG}", f"dumps/{CONFIG}"),
        (f"candidates/{CONFIG}", f"candidates/{CONFIG}"),
        ("definitions", "manifest.json"),
    ],
    ids=["capture", "normalise", "stage"],
)
def test_killed_command(hanging: Project, directory: str, damaged: str) -> None:
    staged = hanging.staged()
    remove(hanging.path(damaged))
    process = start(hanging, Path(directory).name)
    os.kill(hung(hanging), signal.SIGKILL)
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert re.search(r"failed with exit code 137; the end of its log, results/", output)
    whole(hanging)
    assert hidden(hanging)
    assert hanging.staged() == staged
    hanging.run()
    assert hidden(hanging) == []
    assert hanging.staged() == staged
    assert "Nothing to be done" in hanging.run().output


def test_killed_snakemake(hanging: Project) -> None:
    """With everything that it started, as when a machine goes down; a capture had failed before."""
    staged = hanging.staged()
    shutil.rmtree(hanging.path(f"dumps/{CONFIG}"))
    (hanging.folder / "FAIL").write_text(CONFIG)
    process = start(hanging, "definitions")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=SECONDS)
    whole(hanging)
    assert hanging.staged() == staged
    assert "captures that failed in an interrupted run: 1" in hanging.run("-n", "--nolock").output
    locked = hanging.run(ok=False)
    assert "--unlock" in locked.output
    (hanging.folder / "FAIL").write_text("")
    hanging.run("--unlock")
    assert hanging.run().jobs["capture"] == 1
    assert hidden(hanging) == []
    assert hanging.staged() == staged
    assert "Nothing to be done" in hanging.run().output


def test_two_runs_on_one_results_directory(hanging: Project, tmp_path: Path) -> None:
    """From two working directories, so that Snakemake's own lock does not know."""
    other = new_project(make(tmp_path / "other"))
    shutil.rmtree(hanging.path(f"dumps/{CONFIG}"))
    process = start(hanging, CONFIG)
    config = f"model=kimi-k2 results={hanging.folder}/results"
    result = other.run(config=config, ok=False)
    lines = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert re.search(r"process \d+ on \S+ is writing here; wait for its end", lines[0])
    assert "--unlock" in hanging.run(ok=False).output
    os.kill(hung(hanging), signal.SIGKILL)
    process.communicate(timeout=SECONDS)
    hanging.run()


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("name", "next_output"),
    [
        (f"configs/{CONFIG}.json", None),
        (f"dumps/{CONFIG}/capture.json", f"candidates/{CONFIG}"),
        (f"candidates/{CONFIG}/index.json", "manifest.json"),
        ("report.json", None),
    ],
)
def test_corrupted_intermediate_is_named_and_made_again(
    quick: Project, name: str, next_output: str | None
) -> None:
    """Half a file, as a dying disk leaves it; what the message says to delete is enough.

    Nobody looks into a folder that is up to date, so its next reader is asked for.
    """
    staged = quick.staged()
    path = quick.path(name)
    path.write_text(path.read_text()[:100])
    if next_output:
        remove(quick.path(next_output))
    result = quick.run(ok=False)
    assert f"{path.relative_to(quick.folder)}: not valid JSON" in result.output
    remove(path.parent if path.parent.name == CONFIG else path)
    quick.run()
    assert quick.staged() == staged
    assert "Nothing to be done" in quick.run().output


def test_corrupted_manifest_is_made_again_by_itself(quick: Project) -> None:
    staged = quick.staged()
    quick.path("manifest.json").write_text('{"files": ')
    quick.run()
    assert quick.staged() == staged
    assert quick.report()["ok"]


def remove(path: Path) -> None:
    """Remove a file, or a folder with what is in it."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of one megabyte."""
    folder = make(tmp_path / "disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.mark.slow
def test_full_disk(hanging: Project, small_disk: Path) -> None:
    config = f"model=kimi-k2 results={small_disk}/results"
    result = hanging.run(config=config, ok=False)
    assert re.search("No space left on device|failed with exit code", result.output)
    results = Project(small_disk)
    whole(results)
    remount(small_disk, "size=200m")
    hanging.run(config=config)
    assert results.staged() == hanging.staged()
    assert hidden(results) == []


def test_read_only_results(hanging: Project, small_disk: Path) -> None:
    remount(small_disk, "ro")
    config = f"model=kimi-k2 results={small_disk}/results"
    result = hanging.run(config=config, ok=False)
    lines = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert lines == [
        f"error: {small_disk}/results: cannot be written (Read-only file system); "
        "give results= a folder that can"
    ]


def set_clock(folder: Path, hours: float) -> None:
    """Date a folder as a machine does whose clock is ahead, or behind, by so much."""
    when = time.time() + hours * 3600
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (when, when))


@pytest.mark.parametrize(("folder", "normalised"), [("dumps", 0), ("candidates", 12)])
def test_clock_that_was_behind(quick: Project, folder: str, normalised: int) -> None:
    """By its date older than what it was made from: at most the cheap jobs are done again."""
    staged = quick.staged()
    set_clock(quick.path(folder), -3)
    jobs = quick.run().jobs
    assert (jobs.get("capture", 0), jobs.get("normalise", 0)) == (0, normalised)
    assert quick.staged() == staged
    assert "Nothing to be done" in quick.run().output


def test_capture_that_appears_late_is_waited_for(quick: Project) -> None:
    """As a network file system shows what another machine wrote, seconds after the job's end."""
    late = "import os, sys\nif os.fork():\n    sys.exit()\nimport time\ntime.sleep(3)\n"
    quick.edit("scripts/capture.py", "import argparse", f"{late}import argparse")
    shutil.rmtree(quick.path(f"dumps/{CONFIG}"))
    capture = str(quick.path(f"dumps/{CONFIG}").relative_to(quick.folder))
    quick.run(capture, "--latency-wait", "60")
    assert (quick.folder / capture / "capture.json").exists()
    assert "Nothing to be done" in quick.run(capture).output


def test_clock_that_was_wrong(quick: Project) -> None:
    """A capture from a machine whose clock is a day ahead: Snakemake says so, nothing is lost."""
    staged = quick.staged()
    folder = quick.path(f"dumps/{CONFIG}")
    set_clock(folder, 24)
    result = quick.run(ok=False)
    assert "clock skew" in result.output
    assert "capture" not in result.jobs
    assert quick.staged() == staged
    set_clock(folder, 0)
    assert "capture" not in quick.run().jobs
    assert quick.staged() == staged
