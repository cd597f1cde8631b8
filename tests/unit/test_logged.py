"""How a job's command is run: its log, its end, and what it says meanwhile."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

LOGGED = Path(__file__).resolve().parents[2] / "scripts/logged.sh"


def run(log: Path, command: str, every: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a shell command through the script; the pipes close once nothing of it is left."""
    return subprocess.run(
        ["bash", str(LOGGED), str(log), "bash", "-c", command],
        env={**os.environ, "KERNELDEFS_PROGRESS": str(every)},
        capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip


def test_the_last_line_says_what_was_done(tmp_path: Path) -> None:
    done = run(tmp_path / "log", "echo loading; echo 3 definitions >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 definitions\n", "")
    assert (tmp_path / "log").read_text() == "loading\n3 definitions\n"


def test_a_failure_shows_the_end_of_the_log_and_keeps_its_code(tmp_path: Path) -> None:
    done = run(tmp_path / "log", "seq 100; exit 7")
    assert done.returncode == 7
    assert f"failed with exit code 7; the end of its log, {tmp_path}/log:" in done.stderr
    assert done.stderr.splitlines()[-1] == "100" and "\n75\n" not in done.stderr


def test_what_takes_long_says_where_it_is(tmp_path: Path) -> None:
    """Until something was said, so that it does not matter how slow the machine is."""
    said = tmp_path / "said"
    command = f"echo loading weights; until test -s {said}; do sleep 0.1; done; echo done"
    with said.open("w") as stream:
        process = subprocess.Popen(
            ["bash", str(LOGGED), str(tmp_path / "log"), "bash", "-c", command],
            env={**os.environ, "KERNELDEFS_PROGRESS": "0.2"},
            stdout=stream,
        )
        assert process.wait(timeout=50) == 0
    first, *_, last = said.read_text().splitlines()
    assert first.startswith(f"{tmp_path}/log, ") and "s so far:" in first
    assert last == "done"
