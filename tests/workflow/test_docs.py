"""Every command of the documents is run as it stands there, in a finished project.

A block whose first line says `# needs ...` is left out: a network, a GPU, Slurm, other releases.
A block of text after one is what it says: each line of it is looked for in the output, in order.
The examples of config/README.md are planned only: each would be a run of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Project

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md")),
)
MARK = re.compile(r"# needs (a network|a GPU|GPUs|Slurm|a cluster|another environment)\b")
SETTINGS = "config/README.md"
# What an example there names and no machine has.
ELSEWHERE = ("/models/", "/envs/", "Qwen/", "--profile slurm", "12e5")
FENCE = re.compile(r"^( *)```bash\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
# A block of text, with no other block between it and its command.
SAID = re.compile(r"\A(?:(?!```).)*?^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(name: str) -> list[tuple[str, list[str]]]:
    """Return the commands that need nothing but this machine, a block at a time.

    With each stands what the document says that it prints.
    """
    text = (ROOT / name).read_text()
    found = []
    for match in FENCE.finditer(text):
        said = SAID.match(text[match.end() :])
        found.append((match[2], said[1].splitlines() if said else []))
    return [pair for pair in found if not MARK.match(pair[0].strip())]


def test_commands_are_found_and_marked() -> None:
    assert sum(map(len, map(blocks, DOCUMENTS))) > 10
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        assert len(FENCE.findall(text)) == len(re.findall(r"^ *```bash$", text, re.MULTILINE))
        # A command that is not in such a block would not be run.
        assert not re.search(r"^    (snakemake|python|make) ", text, re.MULTILINE), name


def examples() -> list[str]:
    """Return the commands in config/README.md that need nothing but this machine."""
    lines = re.findall(r"^    ((?:snakemake|python) .*)$", (ROOT / SETTINGS).read_text(), re.M)
    return [line for line in lines if not any(word in line for word in ELSEWHERE)]


def run(project: Project, command: str) -> str:
    """Run a shell command in a project, as with its environment active; return its output."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=project.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def without_counts(line: str) -> str:
    """Leave out how many definitions there are, which changes with every release."""
    return re.sub(r"\b\d+(?= added| unchanged| pull requests|$)", "N", line.rstrip())


def assert_said(output: str, lines: list[str]) -> None:
    """Check that the lines that a document shows were printed, in this order."""
    printed = [without_counts(line) for line in output.splitlines()]
    for line in (without_counts(line) for line in lines if line != "..."):
        assert line in printed, f"{line}\nis not in the rest of\n{output}"
        printed = printed[printed.index(line) + 1 :]


def test_examples_of_settings_can_be_planned(empty: Project) -> None:
    assert len(examples()) > 2
    for line in examples():
        run(empty, line.replace("snakemake ", "snakemake -n ", 1))


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if blocks(name)])
def test_commands_work(quick: Project, name: str) -> None:
    """In order, with the dataset where the documents have it: beside the project."""
    dataset = quick.folder.parent / "flashinfer-trace"
    shutil.copytree(quick.path("definitions/rmsnorm"), dataset / "definitions/rmsnorm")
    subprocess.run(["git", "init", "--quiet", str(dataset)], check=True)
    for block, said in blocks(name):
        assert_said(run(quick, block), said)
