"""A process that has imported torch and forks itself for each reference.

    python -m kerneldefs.definition.execution.server

reads a line of limits and a line for each definition from standard input, and writes a line
`[index, outcome]` for each as it ends. It starts with torch's own threads off, so that forks are
safe, and in a network of its own where the machine allows it. In a run, a worker that has imported
torch is forked for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kerneldefs.definition.execution import confine
from kerneldefs.definition.execution.limits import Limits, Outcome, failed
from kerneldefs.worker import Command

LONGEST_ANSWER = 1 << 20  # bytes
Examine = Callable[[dict[str, Any], int], dict[str, Any]]


@dataclasses.dataclass
class _Running:
    """A forked child: its pipe, what it has written, and when its time is over."""

    index: int
    process: int
    pipe: int
    deadline: float
    answer: bytearray = dataclasses.field(default_factory=bytearray)
    killed: str = ""


def serve(
    definitions: Sequence[dict[str, Any]], limits: Limits, examine: Examine
) -> Iterator[tuple[int, Outcome]]:
    """Yield (index, outcome) of each definition as it ends; none is left running."""
    waiting = list(enumerate(definitions))[::-1]
    running: dict[int, _Running] = {}
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and len(running) < max(1, limits.jobs):
                    child = _start(*waiting.pop(), limits, examine)
                    running[child.pipe] = child
                    selector.register(child.pipe, selectors.EVENT_READ)
                for child in _ended(selector, running):
                    selector.unregister(child.pipe)
                    del running[child.pipe]
                    yield child.index, _outcome(child, limits)
        finally:
            for child in running.values():
                _kill(child, "stopped")
                _reap(child)


def _start(index: int, definition: dict[str, Any], limits: Limits, examine: Examine) -> _Running:
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            _in_child(write, definition, limits, examine)
        finally:
            os._exit(0)
    os.close(write)
    with contextlib.suppress(OSError):
        os.setpgid(process, process)  # the child does it too; whoever comes first
    return _Running(index, process, read, time.monotonic() + limits.wall)


def _in_child(pipe: int, definition: dict[str, Any], limits: Limits, examine: Examine) -> None:
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.alarm(limits.wall + 1)  # for the case that the parent has gone
    try:
        confine.confine(pipe, limits.memory, limits.processor)
    except Exception as error:  # whatever it is, nothing untrusted may run now
        reason = f"this machine cannot confine untrusted code, so it was not run: {error}"
        answer = failed("unconfined", reason).to_json()
    else:
        answer = examine(definition, limits.budget)
    data = json.dumps(answer).encode()
    while data:
        data = data[os.write(pipe, data) :]


def _ended(selector: selectors.BaseSelector, running: dict[int, _Running]) -> list[_Running]:
    """Wait for something to happen; return the children whose pipes are closed."""
    nearest = min(child.deadline for child in running.values())
    ended = []
    for key, _ in selector.select(max(0.0, nearest - time.monotonic())):
        child = running[key.fd]
        part = os.read(child.pipe, 1 << 16)
        child.answer += part
        if len(child.answer) > LONGEST_ANSWER:
            _kill(child, "crash")
        if not part:
            ended.append(child)
    for child in running.values():
        if time.monotonic() > child.deadline:
            _kill(child, "time")
    return ended


def _kill(child: _Running, why: str) -> None:
    child.killed = child.killed or why
    child.deadline = time.monotonic() + 5  # by then its pipe is closed
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.process, signal.SIGKILL)


def _reap(child: _Running) -> int:
    """Wait for a child that has closed its pipe, and is killed if it goes on."""
    os.close(child.pipe)
    until = time.monotonic() + 2
    while time.monotonic() < until:
        process, status = os.waitpid(child.process, os.WNOHANG)
        if process:
            return status
        time.sleep(0.005)
    _kill(child, "crash")
    return os.waitpid(child.process, 0)[1]


def _outcome(child: _Running, limits: Limits) -> Outcome:
    status = _reap(child)
    late = f"it ran for more than {limits.wall} s"
    if child.killed == "time":
        return failed("time", late)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return failed("time", f"it used more than {limits.processor} s of processor time")
        if number == signal.SIGALRM:
            return failed("time", late)
        return failed("crash", f"its process was ended by {signal.Signals(number).name}")
    try:
        return Outcome.from_json(json.loads(child.answer))
    except (ValueError, RecursionError):
        return failed("crash", "its process ended without a verdict")


def prepare() -> Examine:
    """Import torch and make it ready to be forked; return what a child does."""
    import torch

    torch.set_num_threads(1)
    # What a reference leaves unwritten becomes NaN, and so is found
    # (torch.utils.deterministic.fill_uninitialized_memory, which is on by default).
    torch._C._set_deterministic_algorithms(True, warn_only=True)
    from kerneldefs.definition.execution import child

    _warm_up(torch)
    return child.examine


def _warm_up(torch: Any) -> None:
    """Use what imports or reads files at its first use: a confined child no longer can."""
    rows = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    torch.einsum("ab,cb,cd->ad", rows, rows, rows)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        torch.nn.functional.linear(rows.to(dtype), rows.to(dtype))
    with torch.no_grad():
        torch.multinomial(torch.softmax(rows, -1), 1).unique()
    torch.nn.functional.scaled_dot_product_attention(rows[None], rows[None], rows[None])
    str(rows)


def references(argument: str, folder: Path) -> Command:
    """Import torch; return what serves the definitions on standard input."""
    confine.leave_network()
    examine = prepare()

    def command(arguments: list[str]) -> int:
        limits, *definitions = (json.loads(line) for line in sys.stdin)
        for index, outcome in serve(definitions, Limits(**limits), examine):
            print(json.dumps([index, outcome.to_json()]), flush=True)
        return 0

    return command


if __name__ == "__main__":
    command = references("", Path())
    gc.collect()
    gc.freeze()  # children share the pages of what has been imported
    command([])
