"""The second fence: what code that no screen has read can do in a confined process.

These run without torch: the server forks, and the child executes any text.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import socket
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from kerneldefs.definition.execution import confine, server
from kerneldefs.definition.execution.limits import Limits, Outcome

LIMITS = Limits(memory=64 << 20, processor=1, wall=20, jobs=1)
MODULES = (ctypes, os, resource, socket, threading, time)  # a child can import nothing any more
LIBC = ctypes.CDLL(None, use_errno=True)
PASSED = {
    "passed": True,
    "kind": "passed",
    "reason": "",
    "scaled": [],
    "seconds": 0.0,
    "agreement": None,
}


def execute(definition: dict[str, Any], budget: int) -> dict[str, Any]:
    """Execute a text; what it raises is the reason."""
    scope: dict[str, Any] = {module.__name__: module for module in MODULES}
    scope |= {"verdict": dict(PASSED), "LIBC": LIBC}
    try:
        exec(definition["reference"], scope)
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        return PASSED | {"passed": False, "kind": "error", "reason": reason}
    return dict(scope["verdict"])


def run(*texts: str, limits: Limits = LIMITS) -> list[Outcome]:
    """Serve some texts and return their outcomes in order."""
    found = dict(server.serve([{"reference": text} for text in texts], limits, execute))
    return [found[index] for index in range(len(texts))]


REFUSED = {
    "fork": "os.fork()",
    "fork bomb": "while True: os.fork()",
    "thread": "threading.Thread(target=print).start()",
    "program": "os.execv('/bin/true', ['true'])",
    "spawned program": "os.posix_spawn('/bin/true', ['true'], {})",
    "read a file": "open('/etc/passwd').read()",
    "write a file": "open('FILE', 'w').write('x')",
    "list a folder": "os.listdir('/')",
    "remove a file": "os.unlink('FILE')",
    "make a folder": "os.mkdir('FILE.d')",
    "socket": "socket.socket()",
    "socket pair": "socket.socketpair()",
    "kill the server": "os.kill(os.getppid(), 9)",
    "kill its group": "os.killpg(0, 9)",
    "leave its group": "os.setsid()",
    "raise its limits": "resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)",
    "leave the confinement": "LIBC.prctl(22, 0, 0, 0, 0); number = ctypes.get_errno()\n"
    "raise OSError(number, os.strerror(number))",
    "become somebody": "os.setuid(0)",
    "sleep": "time.sleep(1000)",
    "read standard input": "os.read(0, 1)",
    "new pipe": "os.pipe()",
}


WORDS = ("Operation not permitted", "start new thread", "not allowed to raise maximum limit")


def test_no_system_call_but_those_for_computing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    texts = [text.replace("FILE", str(file)) for text in REFUSED.values()]
    outcomes = dict(zip(REFUSED, run(*texts), strict=True))
    open_doors = {
        name: outcome
        for name, outcome in outcomes.items()
        if outcome.kind != "error" or not any(word in outcome.reason for word in WORDS)
    }
    assert open_doors == {}
    assert file.read_text() == "kept" and os.listdir(tmp_path) == ["file"]


ENDED = {
    "endless loop": ("while True: pass", "time"),
    "long computation": ("x = 7 ** 7 ** 9", "time"),
    "memory bomb": ("x = bytearray(1 << 40)", "error"),
    "slow memory bomb": ("x = []\nwhile True: x.append(bytearray(1 << 20))", "error"),
    "exit": ("os._exit(0)", "crash"),
    "exit with a code": ("os._exit(7)", "crash"),
    "crash": ("ctypes.string_at(0)", "crash"),
    "wrong verdict": ("verdict = {'passed': True}", "crash"),
    "verdict of another type": ("verdict['seconds'] = '1'", "crash"),
    "contradiction": ("verdict['kind'] = 'error'", "crash"),
    "no JSON": (
        "for fd in range(3, 999):\n    try: os.write(fd, b'{')\n    except OSError: pass",
        "crash",
    ),
    "huge answer": ("verdict['reason'] = 'x' * (2 << 20)", "crash"),
}


def test_each_bomb_is_an_outcome_and_the_run_goes_on() -> None:
    outcomes = run(*(text for text, _ in ENDED.values()), "x = 3", limits=LIMITS)
    kinds = {name: outcome.kind for name, outcome in zip(ENDED, outcomes, strict=False)}
    assert kinds == {name: kind for name, (_, kind) in ENDED.items()}
    assert outcomes[-1].passed
    reasons = dict(zip(ENDED, (outcome.reason for outcome in outcomes), strict=False))
    assert reasons["endless loop"] == "it used more than 1 s of processor time"
    assert reasons["crash"] == "its process was ended by SIGSEGV"
    assert reasons["memory bomb"].startswith("MemoryError")


def test_a_closed_pipe_is_not_an_end() -> None:
    closing = "for fd in range(3, 999):\n    try: os.close(fd)\n    except OSError: pass\n"
    outcomes = run(closing + "while True: pass", "x = 3")
    assert outcomes[0].kind in ("crash", "time") and outcomes[1].passed


def test_the_clock_ends_what_processor_time_does_not() -> None:
    limits = Limits(memory=64 << 20, processor=100, wall=1, jobs=2)
    outcomes = run("while True: pass", "x = 3", "while True: pass", limits=limits)
    assert [outcome.kind for outcome in outcomes] == ["time", "passed", "time"]
    assert outcomes[0].reason == "it ran for more than 1 s"


def test_an_interrupted_run_leaves_no_process() -> None:
    limits = Limits(memory=64 << 20, processor=100, wall=100, jobs=2)
    texts = ["while True: pass", "x = 3"]
    before = set(psutil.Process().children())
    running = server.serve([{"reference": text} for text in texts], limits, execute)
    assert next(running)[1].passed
    assert set(psutil.Process().children()) > before
    running.close()
    assert set(psutil.Process().children()) <= before


def test_descriptors_are_not_inherited(tmp_path: Path) -> None:
    with open(tmp_path / "secret", "w+") as stream:
        stream.write("secret")
        stream.flush()
        outcome = run(f"os.write({stream.fileno()}, b'x')")[0]
        assert "Bad file descriptor" in outcome.reason
        stream.seek(0)
        assert stream.read() == "secret"


def test_a_machine_that_cannot_confine_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "m68k")
    outcome = run("x = 3")[0]
    assert outcome.kind == "unconfined"
    assert outcome.reason.endswith("it was not run: no list of system calls for m68k")


def test_the_filter_names_each_machine() -> None:
    programs = [confine.filter_program(machine) for machine in ("x86_64", "aarch64")]
    assert len(programs[0]) == len(programs[1]) and programs[0] != programs[1]
    assert len(programs[0]) % 8 == 0
