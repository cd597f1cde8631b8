"""What earlier settings left over is told from what is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kerneldefs.files import write_text
from kerneldefs.leftovers import left_over, prune

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
FILES = (
    *("configs/{}.json", "dumps/{}/capture.json", "candidates/{}/index.json"),
    *("others/{}/capture.json", "parity/{}.json", "logs/others/{}.log"),
    *("logs/capture/{}.log", "benchmarks/normalise/{}.tsv"),
)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for config in ("a", "a.b", "gone-0.5", "gone"):
        for name in FILES:
            write_text(tmp_path / name.format(config), "x")
    write_text(tmp_path / "definitions/gemm/gone.json", "{}")
    (tmp_path / "dumps/.a.abcdefgh.new").mkdir()
    return tmp_path


def kept(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_configs_that_are_not_asked_for_go(results: Path) -> None:
    assert left_over(results, ["a", "a.b"]) == ["gone", "gone-0.5"]
    removed = prune(results, ["a", "a.b"])
    asked = {name.format(config) for config in ("a", "a.b") for name in FILES}
    assert kept(results) == {*asked, "definitions/gemm/gone.json"}
    assert results / "dumps/.a.abcdefgh.new" in removed
    assert len(removed) == 2 * len(FILES) + 1
    assert prune(results, ["a", "a.b"]) == []


def test_results_of_a_model_that_never_ran(tmp_path: Path) -> None:
    assert left_over(tmp_path / "none", ["a"]) == []
    assert prune(tmp_path / "none", ["a"]) == []


def test_links_are_removed_and_not_what_they_point_to(results: Path, tmp_path: Path) -> None:
    (results / "dumps/linked").symlink_to(results / "dumps/a")
    prune(results, ["a", "a.b", "gone", "gone-0.5"])
    assert not (results / "dumps/linked").is_symlink()
    assert (results / "dumps/a/capture.json").exists()


def test_command_says_what_it_removed(results: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "prune.py"), f"{results}=a,a.b,gone"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"removed {results}/dumps/gone-0.5\n" in done.stdout
    assert done.stdout.endswith(f"{len(FILES) + 1} files and folders removed\n")
