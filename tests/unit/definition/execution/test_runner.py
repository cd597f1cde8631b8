"""Whole runs: good, broken and hostile references in one go, and the cache."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.cli import OWNER
from kerneldefs.definition.execution import cache, runner
from kerneldefs.definition.execution.limits import Limits, Outcome, failed
from kerneldefs.definition.execution.runner import run_references
from kerneldefs.definition.execution.table import as_text

from .make import body, definition

# One process tests them all: the module fixture is two runs of some thirty references.
pytestmark = pytest.mark.xdist_group("references")

LIMITS = Limits(memory=256 << 20, processor=2, wall=60, jobs=2)
INDEX = {"x": (["n", "m"], "float32"), "seed": (None, "int32")}
LSE = {"lse": (["n"], "float32")}

GOOD = {
    "plain": definition(body("return x * 2")),
    "tuple of one": definition(body("return (x * 2,)")),
    "sampling": definition(
        body("return torch.multinomial(x.abs() + 1, 1).squeeze(-1).to(torch.int32)"),
        outputs={"y": (["n"], "int32")},
    ),
    "scalar input": definition("def run(x, seed):\n    return x + seed\n", INDEX),
    "empty sum": definition(body("return torch.full(x.shape[:1], -float('inf'))"), outputs=LSE),
    "scalar output": definition(body("return float(x.sum())"), outputs={"y": (None, "float32")}),
    "own copy changed": definition(body("x = x.clone()", "x.zero_()", "return x")),
    "scaled": definition(body("return x.sum(-1)"), outputs={"y": (["n"], "float32")})
    | {"axes": {"n": {"type": "var"}, "m": {"type": "const", "value": 8}}},
}

BROKEN = {
    "shape": (definition(body("return x[:, 1:]")), "y is [4, 7], declared [n, m] = [4, 8]"),
    "dtype": (definition(body("return x.half()")), "y is float16, declared float32"),
    "arity": (definition(body("return x, x")), "run returned 2 values for 1 outputs"),
    "type": (definition(body("return 3.0")), "y is a float, not a tensor"),
    "nan": (definition(body("return x / (x - x) * 0")), "y has NaN in it"),
    "inf": (definition(body("return x * float('inf')")), "y has infinities in it"),
    "mutated": (
        definition(body("x += 1", "return x * 2")),
        "x changed in place, and no output declares it",
    ),
    "nondeterministic": (
        definition("CALLS = []\ndef run(x):\n    CALLS.append(1)\n    return x * len(CALLS)\n"),
        "y differs between two runs under one seed",
    ),
    "error": (
        definition(body("y = x + 1", "raise ValueError('no\\nway')")),
        "ValueError: no way (line 5)",
    ),
    "screen": (definition("import os\n" + body("return x")), "it imports os"),
    "inputs": (
        definition(body("return x"), constraints=["m == 9"]),
        "no small sizes found for which 'm == 9' holds",
    ),
}
ALSO_BROKEN = {
    "unwritten memory": (definition(body("return torch.empty_like(x)")), "nan"),
    "plus infinity is no empty sum": (
        definition(body("return torch.full(x.shape[:1], float('inf'))"), outputs=LSE),
        "inf",
    ),
    "no run": (definition("import torch\n"), "error"),
    "wrong parameters": (definition("def run(y, z):\n    return y\n"), "error"),
    "no definition": ({"reference": 3}, "error"),
    "reshaped in place": (definition(body("x.mul_(0)", "return x + 1")), "mutated"),
}
HOSTILE = {
    "memory bomb": (definition(body("return torch.zeros(1 << 40)")), "memory"),
    "slow memory bomb": (
        definition(body("y = [x]", "while True: y.append(torch.ones(1 << 22))")),
        "memory",
    ),
    "endless loop": (definition(body("while True: pass")), "time"),
    "endless recursion": (definition("def run(x):\n    return run(x)\n"), "error"),
    "fork bomb": (definition("import os\ndef run(x):\n    while True: os.fork()\n"), "screen"),
    "file": (definition(body("return open('/etc/passwd').read()")), "screen"),
    "socket": (definition("import socket\n" + body("return x")), "screen"),
    "import trick": (definition(body("return __import__('os')")), "screen"),
    "attribute trick": (definition(body("return x.__class__.__init__.__globals__")), "screen"),
}


@pytest.fixture(scope="module", params=["alone", "in a worker"])
def outcomes(request: pytest.FixtureRequest) -> dict[str, Outcome]:
    """Run everything at once, the hostile ones first: by a server of their own, and by a fork."""
    cases = {name: case for name, (case, _) in (HOSTILE | BROKEN | ALSO_BROKEN).items()} | GOOD
    with pytest.MonkeyPatch.context() as patch, subprocess.Popen(["sleep", "600"]) as owner:
        patch.delenv(OWNER, raising=False)
        if request.param == "in a worker":
            patch.setenv(OWNER, f"{socket.gethostname()}:{owner.pid}")
        found = run_references(list(cases.values()), limits=LIMITS)
        sockets = Path(tempfile.gettempdir()).glob(f"kerneldefs-*-{owner.pid}/references-*.socket")
        assert len(list(sockets)) == (request.param == "in a worker")
        owner.kill()
    return dict(zip(cases, found, strict=True))


@pytest.mark.parametrize("name", GOOD)
def test_good_ones_pass(outcomes: dict[str, Outcome], name: str) -> None:
    assert (outcomes[name].kind, outcomes[name].reason) == ("passed", "")
    assert outcomes[name].passed and not outcomes[name].verified


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_ones_are_found_with_a_sentence(outcomes: dict[str, Outcome], kind: str) -> None:
    assert (outcomes[kind].kind, outcomes[kind].reason) == (kind, BROKEN[kind][1])
    assert not outcomes[kind].passed


@pytest.mark.parametrize("name", ALSO_BROKEN | HOSTILE)
def test_others_are_found(outcomes: dict[str, Outcome], name: str) -> None:
    assert outcomes[name].kind == (ALSO_BROKEN | HOSTILE)[name][1]
    assert outcomes[name].reason and "\n" not in outcomes[name].reason


def test_torch_is_not_imported_here_for_it(outcomes: dict[str, Outcome], tmp_path: Path) -> None:
    assert outcomes
    program = (
        "import sys, json; from kerneldefs.definition.execution.runner import run_references\n"
        "import kerneldefs.definition.execution.cache, kerneldefs.definition.execution.screen\n"
        "assert 'torch' not in sys.modules"
    )
    import subprocess

    scripts = str(Path(runner.__file__).parents[3])
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": scripts})


class Served:
    """Stands in for the server, and counts what it is asked."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.asked: list[Any] = []
        self._outcomes = list(outcomes)

    def __call__(self, definitions: list[Any], limits: Limits) -> list[Outcome]:
        self.asked += definitions
        return [self._outcomes.pop(0) if self._outcomes else PASSED for _ in definitions]


PASSED = Outcome(True, "passed", "", ("m 8 -> 4",), 0.5, {"against": "loop", "agrees": True})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    """Replace the server."""
    stand_in = Served()
    monkeypatch.setattr(runner, "_serve", stand_in)
    return stand_in


def test_what_is_kept_runs_nothing(served: Served, tmp_path: Path) -> None:
    case = definition(body("return x"))
    first = run_references([case, case], tmp_path)
    assert len(served.asked) == 1
    assert run_references([case | {"tags": ["tp:8"]}], tmp_path) == first[:1] == [PASSED]
    assert len(served.asked) == 1


def test_content_order_and_budget_make_another(served: Served, tmp_path: Path) -> None:
    case = definition("def run(x, seed):\n    return x + seed\n", INDEX)
    swapped = case | {"inputs": dict(reversed(case["inputs"].items()))}
    run_references([case, swapped, case | {"reference": "def run(x, seed): pass"}], tmp_path)
    assert len(served.asked) == 3
    run_references([case], tmp_path, Limits(budget=1000))
    assert len(served.asked) == 4


@pytest.mark.parametrize("part", ["torch_version", "code_version"])
def test_versions_make_another(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    case = definition(body("return x"))
    run_references([case], tmp_path)
    monkeypatch.setattr(cache, part, lambda: "another")
    run_references([case], tmp_path)
    assert len(served.asked) == 2


@pytest.mark.parametrize("text", ["", "{}", '{"passed": true}', "[]", "nonsense"])
def test_a_damaged_entry_is_run_again(served: Served, tmp_path: Path, text: str) -> None:
    case = definition(body("return x"))
    run_references([case], tmp_path)
    (entry,) = tmp_path.rglob("*.json")
    entry.write_text(text)
    assert run_references([case], tmp_path) == [PASSED]
    assert len(served.asked) == 2


@pytest.mark.parametrize("kind", ["memory", "time", "crash", "unconfined"])
def test_accidents_are_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    monkeypatch.setattr(runner, "_serve", Served(failed(kind, "why")))
    case = definition(body("return x"))
    assert run_references([case], tmp_path) == [failed(kind, "why")]
    assert run_references([case], tmp_path) == [PASSED]


def test_a_server_that_ends_early_fails_what_it_did_not_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = json.dumps([1, PASSED.to_json()])
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho noise\necho '{answer}'\necho late >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    cases = [definition(body(f"return x * {i}")) for i in range(2)]
    first, second = run_references(cases)
    assert (first.kind, first.reason) == ("crash", "the server ended before it ran: late")
    assert second == PASSED


def test_the_table_counts_and_explains() -> None:
    rows = [("norm", "a.json", PASSED), ("gemm", "b.json", failed("nan", "y has NaN in it"))]
    lines = as_text(rows).splitlines()
    assert lines[1].split() == ["gemm", "1", "0", "0", "0"]
    assert lines[3].split() == ["all", "2", "1", "1", "1"]
    assert lines[4:] == ["b.json: nan: y has NaN in it"]


def test_two_runs_on_one_folder_run_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    case = definition(body("return x"))
    meanwhile = Served()

    def known(self: cache.Cache, keys: Any, ask: Any = cache.Cache.known) -> dict[str, Outcome]:
        found = ask(self, keys)
        if not found and not meanwhile.asked:  # another run keeps it, just after this one looked
            meanwhile([case], LIMITS)
            self.put(cache.key(case, LIMITS.budget), PASSED)
        return found

    monkeypatch.setattr(cache.Cache, "known", known)
    monkeypatch.setattr(runner, "_serve", lambda *_: pytest.fail("it ran again"))
    assert run_references([case], tmp_path, LIMITS) == [PASSED]


# Another process that runs the reference of argv[2] until it is told to go on, and keeps it.
ANOTHER = f"""
import sys
from pathlib import Path
from kerneldefs.definition.execution.cache import Cache
from kerneldefs.definition.execution.limits import Outcome
kept = Cache(Path(sys.argv[1]))
with kept.claimed(sys.argv[2:]) as mine:
    print(mine == sys.argv[2:], flush=True)
    sys.stdin.readline()
    kept.put(mine[0], Outcome.from_json({PASSED.to_json()!r}))
"""


def test_two_runs_at_once_share_the_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shared, own = (definition(body(f"return x * {i}")) for i in range(2))
    command = [sys.executable, "-c", ANOTHER, str(tmp_path), cache.key(shared, LIMITS.budget)]
    environment = {"PYTHONPATH": str(Path(runner.__file__).parents[3])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as another:
        assert another.stdin and another.stdout and another.stdout.readline() == "True\n"

        def serve(definitions: list[Any], limits: Limits) -> list[Outcome]:
            assert definitions == [own]  # at once, while the other one runs the shared reference
            another.communicate("go on\n")
            return [PASSED]

        monkeypatch.setattr(runner, "_serve", serve)
        assert run_references([shared, own], tmp_path, LIMITS) == [PASSED, PASSED]
