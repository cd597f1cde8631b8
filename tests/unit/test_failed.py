"""A capture that failed is written down, one that was killed is passed on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kerneldefs.files import read_json

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def failed(folder: Path, code: int, log: str | None) -> int:
    if log is not None:
        (folder / "log").write_text(log)
    command = [sys.executable, str(SCRIPTS / "failed.py"), str(code), str(folder / "log")]
    return subprocess.run([*command, str(folder / "out")], check=False).returncode


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("loading\nerror: no such model\nin the end\n", "no such model"),
        ("Traceback\nValueError: odd\n\n", "ValueError: odd"),
        ("", "it said nothing"),
        (None, "it said nothing"),
    ],
)
def test_reason_is_what_the_log_ends_with(tmp_path: Path, log: str | None, reason: str) -> None:
    assert failed(tmp_path, 1, log) == 0
    summary = read_json(tmp_path / "out/capture.json")
    assert summary == {"status": "failed", "reason": f"{reason} (log: {tmp_path / 'log'})"}


def test_killed_capture_is_no_failed_one(tmp_path: Path) -> None:
    assert failed(tmp_path, 137, "half") == 137
    assert not (tmp_path / "out").exists()
