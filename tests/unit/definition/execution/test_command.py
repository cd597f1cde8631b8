"""scripts/execute.py, on outcomes that are kept already: nothing runs, and torch is not needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kerneldefs.definition.execution import cache
from kerneldefs.definition.execution.limits import Limits, Outcome, failed

from .make import body, definition

SCRIPT = Path(__file__).parents[4] / "scripts" / "execute.py"


def execute(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def write(folder: Path, name: str, outcome: Outcome, kept: Path) -> None:
    """Write a definition and keep its outcome."""
    case = definition(body("return x"), name=name)
    path = folder / "case" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(case))
    cache.Cache(kept).put(cache.key(case, Limits().budget), outcome)


def test_the_table_and_the_exit_code(tmp_path: Path) -> None:
    folder, kept = tmp_path / "definitions", tmp_path / "cache"
    write(folder, "good", Outcome(True, "passed", ""), kept)
    done = execute(folder, "--cache", kept)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split() == ["case", "1", "1", "0", "0"]
    write(folder, "bad", failed("nan", "y has NaN in it"), kept)
    done = execute(folder, "--cache", kept)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "bad.json: nan: y has NaN in it"


def test_json(tmp_path: Path) -> None:
    write(tmp_path / "d", "good", Outcome(True, "passed", ""), tmp_path / "cache")
    (row,) = json.loads(execute(tmp_path / "d", "--cache", tmp_path / "cache", "--json").stdout)
    assert (row["path"], row["kind"]) == ("case/good.json", "passed")


@pytest.mark.parametrize(
    ("text", "error"),
    [(None, "no JSON file; give folders"), ("{", "case/x.json: not valid JSON")],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, text: str | None, error: str) -> None:
    if text is not None:
        (tmp_path / "case").mkdir()
        (tmp_path / "case" / "x.json").write_text(text)
    done = execute(tmp_path)
    assert done.returncode == 1 and done.stderr.startswith(f"error: {error}")
    assert done.stderr.count("\n") == 1
