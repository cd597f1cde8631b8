"""References run before they are staged: what fails is put aside, and the rest goes on.

The hostile ones go through the real command, in real confined processes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.dataset.stage import executed, load_model, select
from kerneldefs.definition.execution import runner
from kerneldefs.definition.execution.limits import Outcome, failed
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json

from .make import candidates, norm, tree

SCRIPTS = Path(__file__).parents[3] / "scripts"
AGREED = Outcome(True, "passed", "", ("a 8 -> 4",), 1.5, {"against": "a loop", "agrees": True})


def answering(monkeypatch: pytest.MonkeyPatch, **answers: Outcome) -> None:
    """Answer for the server, by name."""

    def serve(definitions: list[Any], limits: object) -> list[Outcome]:
        return [answers[definition["name"]] for definition in definitions]

    monkeypatch.setattr(runner, "_serve", serve)


def test_what_fails_is_not_staged_and_what_agrees_is_verified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = candidates(tmp_path, "a", norm(8), norm(16), norm(32))
    answering(
        monkeypatch,
        rmsnorm_h8=AGREED,
        rmsnorm_h16=failed("nan", "y has NaN in it"),
        rmsnorm_h32=Outcome(True, "passed", ""),
    )
    selection = executed(select(load_model([folder], "m")))
    tags = {item.name: item.definition["tags"] for item in selection.staged}
    assert tags == {"rmsnorm_h8": ["status:verified"], "rmsnorm_h32": ["status:unverified"]}
    (lost,) = selection.quarantined
    assert (lost["name"], lost["cause"], lost["configs"]) == ("rmsnorm_h16", "reference-nan", ["a"])
    said = {item.name: item.brief()["execution"] for item in selection.staged}
    assert said["rmsnorm_h8"] == {"verified": True, "against": "a loop", "scaled": ["a 8 -> 4"]}
    assert said["rmsnorm_h32"] == {"verified": False, "against": None, "scaled": []}


def test_a_machine_without_a_fence_stages_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = candidates(tmp_path, "a", norm(8))
    answering(monkeypatch, rmsnorm_h8=failed("unconfined", "no fence"))
    with pytest.raises(KerneldefsError, match="no fence; go on without running references"):
        executed(select(load_model([folder], "m")))


# name -> the body of run(x), and the causes that its quarantine may have.
HOSTILE = {
    "endless": ("while True:\n        x = x + 0\n    return x", {"reference-time"}),
    "memory": (
        "import torch\n    return torch.cat([torch.ones(2**28) for _ in range(2**12)])",
        {"reference-memory", "reference-crash"},
    ),
    "bigint": ("return x * (10 ** (10 ** 9))", {"reference-time", "reference-memory"}),
    "file": ("return open('/etc/passwd').read()", {"reference-screen"}),
    "socket": ("import socket\n    return socket.socket()", {"reference-screen"}),
    "import": ("return __import__('os').system('true')", {"reference-screen"}),
    "dunder": (
        "return ().__class__.__base__.__subclasses__()",
        {"reference-screen"},
    ),
    "forks": ("import os\n    while True:\n        os.fork()", {"reference-screen"}),
    "torch_file": ("import torch\n    return torch.load('/etc/passwd')", {"reference-screen"}),
    "format": ("return '{0.__class__}'.format(x)", {"reference-screen"}),
}


def hostile(name: str) -> dict[str, Any]:
    definition = norm(8)
    definition["name"] = f"rmsnorm_{name}"
    definition["reference"] = f"def run(x):\n    {HOSTILE[name][0]}\n"
    return definition


def test_hostile_references_are_put_aside_and_the_run_goes_on(tmp_path: Path) -> None:
    """Each ends within the limits; the honest definition between them is staged."""
    found = [hostile(name) for name in HOSTILE]
    folder = candidates(tmp_path, "a", *found[:5], norm(64), *found[5:])
    command = [sys.executable, str(SCRIPTS / "stage.py"), str(folder), "--model", "m"]
    command += ["--out", str(tmp_path / "out"), "--manifest", str(tmp_path / "manifest.json")]
    command += ["--execute", "--processor-seconds", "4", "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert list(tree(tmp_path / "out")) == ["rmsnorm/rmsnorm_h64.json"]
    lost = {
        row["name"]: row["cause"] for row in read_json(tmp_path / "manifest.json")["quarantined"]
    }
    assert set(lost) == {f"rmsnorm_{name}" for name in HOSTILE}
    for name, (_, causes) in HOSTILE.items():
        assert lost[f"rmsnorm_{name}"] in causes
    assert "1 definitions staged" in done.stdout
    assert json.loads((tmp_path / "out/rmsnorm/rmsnorm_h64.json").read_text())["name"]
