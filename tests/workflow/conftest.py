"""Whole runs of the workflow, in a copy of the project.

One real run, with real captures, is shared by the whole session. Where a test is about what reruns,
its project's capture command hands out the captures of that run instead.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "Snakefile",
    "rules",
    "scripts",
    "config",
    "profiles",
    "slurm",
    "environment.yml",
    "report",
)
KIMI = "kimi-k2-instruct"
# {sglang release}/bin/python of other releases than the lock's: `make environments`, or elsewhere.
RELEASES = Path(os.environ.get("KERNELDEFS_RELEASES", ROOT / ".venv" / "releases"))

# Stands in for scripts/capture.py: copies a recorded capture, or fails for the ids in FAIL.
FAKE_CAPTURE = """
import argparse, json, shutil, sys
from pathlib import Path
from kerneldefs.files import replaced_directory

RECORDED = Path({recorded!r})
parser = argparse.ArgumentParser()
parser.add_argument("config", type=Path)
for option in ("--model-config", "--backend", "--out"):
    parser.add_argument(option, required=True)
options = parser.parse_args()
name = json.loads(options.config.read_text())["id"]
if name in Path("FAIL").read_text().split():
    sys.exit("error: this capture fails on purpose")
found = RECORDED / name
with replaced_directory(Path(options.out)) as folder:
    source = found if found.exists() else min(RECORDED.iterdir())
    shutil.copytree(source, folder, dirs_exist_ok=True)
print(name + ": captured")
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep these tests on one worker, so that the session's real run happens once."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("workflow"))


@dataclasses.dataclass(frozen=True)
class Result:
    """How one Snakemake run ended."""

    code: int
    output: str

    @property
    def jobs(self) -> dict[str, int]:
        """Return how many jobs of each rule there were, without `all`."""
        table = self.output.partition("Job stats:")[2].partition("total")[0]
        counts = dict(re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE))
        return {rule: int(count) for rule, count in counts.items() if rule != "all"}


@dataclasses.dataclass(frozen=True)
class Project:
    """A copy of the project with its own results."""

    folder: Path

    def run(self, *arguments: str, config: str = "model=kimi-k2", ok: bool = True) -> Result:
        """Run Snakemake, with KEY=VALUE words in `config`."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        done = subprocess.run(
            [*command, "--config", *config.split()],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == ok, done.stdout
        return Result(done.returncode, done.stdout)

    def path(self, name: str, model: str = KIMI) -> Path:
        """Return a path below a model's results."""
        return self.folder / "results" / model / name

    def report(self, model: str = KIMI) -> dict[str, Any]:
        """Read a model's report."""
        data: dict[str, Any] = json.loads(self.path("report.json", model).read_text())
        return data

    def staged(self, model: str = KIMI) -> dict[str, dict[str, Any]]:
        """Read a model's staged definitions, by name."""
        files = sorted(self.path("definitions", model).glob("*/*.json"))
        return {path.stem: json.loads(path.read_text()) for path in files}

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text that a file of the project holds."""
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))


def new_project(folder: Path) -> Project:
    """Copy the project, without results, into an empty folder."""
    for part in PARTS:
        source = ROOT / part
        if source.is_symlink():
            (folder / part).symlink_to(os.readlink(source))
        elif source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    return Project(folder)


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which Kimi-K2 was really captured, as `make run` does."""
    project = new_project(tmp_path_factory.mktemp("real"))
    project.run()
    return project


@pytest.fixture(scope="session")
def _quick(real: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same, with a capture command that hands out what was captured; run once."""
    folder = tmp_path_factory.mktemp("quick") / "project"
    shutil.copytree(real.folder, folder, symlinks=True)
    (folder / "scripts/capture.py").write_text(
        FAKE_CAPTURE.format(recorded=str(real.path("dumps")))
    )
    (folder / "FAIL").write_text("")
    project = Project(folder)
    project.run()
    return project


@pytest.fixture
def quick(_quick: Project, tmp_path: Path) -> Project:
    """A finished project of the test's own."""
    folder = tmp_path / "project"
    shutil.copytree(_quick.folder, folder, symlinks=True)
    return Project(folder)


@pytest.fixture
def empty(tmp_path: Path) -> Project:
    """A project in which nothing ran yet."""
    folder = tmp_path / "project"
    folder.mkdir()
    return new_project(folder)


def interpreter(release: str) -> Path:
    """Return the interpreter of an environment with a release of SGLang; skip where there is none.

    `make environments` makes them.
    """
    python = RELEASES / release / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no {python}: run `make environments`")
    return python


@pytest.fixture(scope="session")
def older_release() -> Path:
    """Return an interpreter with the older pair of releases, over this environment's packages."""
    return interpreter("0.5.17")
