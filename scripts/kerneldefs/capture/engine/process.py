"""The process that holds SGLang's engine and asks it the probe: `python -m` this, with a folder.

SGLang starts its schedulers with multiprocessing's "spawn", which imports this module again in each
of them (as `__mp_main__`) before anything of SGLang: the one moment when FlashInfer's decorator can
still be hooked.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from kerneldefs.capture import probe
from kerneldefs.capture.engine import rank
from kerneldefs.capture.engine.places import DONE_FILE, FINISHED_FILE, REQUEST_FILE, rank_folder
from kerneldefs.capture.server import check_names

if __name__ == "__mp_main__":
    rank.record()

# Tokens of the cached prefix: whole pages of every page size that SGLang's backends ask for.
PREFIX = 128
_PARENT_DIED = 1  # PR_SET_PDEATHSIG


def main(folder: Path) -> None:
    """Serve what the folder's request says, ask the probe, and say when it is done."""
    import numpy as np

    ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)  # SGLang's own processes do the same
    request = json.loads((folder / REQUEST_FILE).read_text(encoding="utf-8"))
    started = time.monotonic()
    engine = _engine(request["arguments"])
    loaded = time.monotonic()
    tokens = np.random.default_rng(probe.SEED)
    for step in probe.STEPS:
        print(f"probe: {step.name}", flush=True)
        _ask(engine, step, tokens)
        engine.flush_cache()
    engine.collective_rpc(rank.FINISH)
    _wait_for_ranks(folder, request["ranks"])
    seconds = {"load": round(loaded - started, 1), "probe": round(time.monotonic() - loaded, 1)}
    (folder / DONE_FILE).write_text(json.dumps(seconds), encoding="utf-8")
    engine.shutdown()


def _engine(arguments: dict[str, Any]) -> Any:
    import sglang
    from sglang.srt.server_args import ServerArgs

    check_names(ServerArgs, arguments)
    return sglang.Engine(**arguments)


def _ask(engine: Any, step: probe.Step, tokens: Any) -> None:
    """One step of the probe, as a client would: a first request leaves the prefix in the cache."""
    length = PREFIX + probe.EXTENSION if step.cached_prefix else step.prompt
    ids = tokens.integers(0, 10000, (probe.BATCH, length))
    if step.cached_prefix:
        first = {**step.sampling, "max_new_tokens": 1, "ignore_eos": True}
        engine.generate(input_ids=ids[:, :PREFIX].tolist(), sampling_params=first)
    sampling = {**step.sampling, "max_new_tokens": 1 + step.decode, "ignore_eos": True}
    engine.generate(input_ids=ids.tolist(), sampling_params=sampling)


def _wait_for_ranks(folder: Path, ranks: int, seconds: float = 60.0) -> None:
    """Wait until every rank has written; one that does not is named by the capture itself."""
    deadline = time.monotonic() + seconds
    files = [rank_folder(folder, number) / FINISHED_FILE for number in range(ranks)]
    while not all(path.exists() for path in files) and time.monotonic() < deadline:
        time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
