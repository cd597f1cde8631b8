"""Run the references of many definitions, each in a confined process of its own.

Never imports torch: a server process does, and only when something is not in the cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerneldefs.definition.execution.cache import Cache, key
from kerneldefs.definition.execution.limits import Limits, Outcome, failed
from kerneldefs.worker import Worker

_SCRIPTS = Path(__file__).parents[3]
_SERVER = "kerneldefs.definition.execution.server:references"


def run_references(
    definitions: Sequence[Mapping[str, Any]],
    cache: Path | None = None,
    limits: Limits | None = None,
) -> list[Outcome]:
    """Return the outcome of each definition, in order.

    A hostile or broken reference is an outcome with a reason, and so is a server that ended early;
    equal definitions run once.
    """
    limits, kept = limits or Limits(), Cache(cache)
    keys = [key(definition, limits.budget) for definition in definitions]
    wanted = dict(zip(keys, definitions, strict=True))
    outcomes = kept.known(wanted)
    while missing := [name for name in wanted if name not in outcomes]:
        with kept.claimed(missing) as mine:
            outcomes |= kept.known(mine)  # by now another run may have kept it
            rest = [name for name in mine if name not in outcomes]
            run = _serve([wanted[name] for name in rest], limits) if rest else []
            for name, outcome in zip(rest, run, strict=True):
                kept.put(name, outcome)
                outcomes[name] = outcome
    return [outcomes[name] for name in keys]


def _serve(definitions: list[Mapping[str, Any]], limits: Limits) -> list[Outcome]:
    """Have a server run some definitions, and return its answers."""
    lines = [json.dumps(dataclasses.asdict(limits)), *map(json.dumps, definitions)]
    code, said, complained = _served("".join(f"{line}\n" for line in lines))
    lost = complained.strip().splitlines()[-1:] or [f"exit code {code}"]
    outcomes = [failed("crash", f"the server ended before it ran: {lost[0][:300]}")] * len(
        definitions
    )
    for line in said.splitlines():
        try:
            index, data = json.loads(line)
            outcomes[index] = Outcome.from_json(data)
        except (ValueError, TypeError, IndexError):
            continue  # not an answer; the one it should have been stays a failure
    return outcomes


def _served(text: str) -> tuple[int, str, str]:
    """Give a server a text; return its exit code and what it wrote to stdout and stderr."""
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
        streams[0].write(text)
        streams[0].seek(0)
        environment = _environment()
        code = Worker(_SERVER, environment=environment).run([], [s.fileno() for s in streams])
        if code is None:
            command = [sys.executable, "-m", _SERVER.partition(":")[0]]
            given, said, complained = streams
            code = subprocess.run(
                command, stdin=given, stdout=said, stderr=complained, env=environment, check=False
            ).returncode
        for stream in streams[1:]:
            stream.seek(0)
        return code, streams[1].read(), streams[2].read()


def _environment() -> dict[str, str]:
    """One thread, no GPU, the same hashes every time, and nothing that the caller's holds.

    Memory that a reference frees is kept for its next tensor, and large tensors get large pages:
    memory taken from the system page by page was an eighth of the processor time.
    """
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),
        "PYTHONPATH": str(_SCRIPTS),
        "PYTHONHASHSEED": "0",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),  # the most that glibc takes
        "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
        "MALLOC_TOP_PAD_": str(64 << 20),
        "THP_MEM_ALLOC_ENABLE": "1",
    }
