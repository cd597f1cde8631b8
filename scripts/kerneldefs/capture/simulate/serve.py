"""SGLang's own ModelRunner, loaded with dummy weights and asked the probe.

Goes through the functions of sglang.benchmark.one_batch, which stayed the same over releases in
which the fields of a request moved.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kerneldefs.capture import probe
from kerneldefs.capture.observe.observer import Observer
from kerneldefs.capture.recorder import Recorder
from kerneldefs.capture.server import check_names
from kerneldefs.capture.simulate import config_class, sglang_patches
from kerneldefs.capture.simulate.ledger import LEDGER
from kerneldefs.capture.simulate.ran import Ran, unexplained
from kerneldefs.capture.simulate.releases import installed_release


def load(arguments: dict[str, Any], tp: int, rank: int = 0) -> Any:
    """Start serving as one of `tp` ranks: SGLang's benchmark runner, with dummy weights."""
    from sglang.benchmark import one_batch
    from sglang.srt.server_args import PortArgs, ServerArgs

    sglang_patches.install(tp, arguments.get("nnodes", 1))
    note = config_class.register(Path(arguments["model_path"]))
    if note:
        LEDGER.note(note)
    check_names(ServerArgs, arguments)
    server_args = ServerArgs(**arguments)
    installed_release().publish(one_batch, server_args, rank)
    _quieten(one_batch)
    runner, _ = one_batch.load_model(server_args, PortArgs.init_new(server_args), 0, rank)
    return runner


def run(arguments: dict[str, Any], tp: int, recorder: Recorder, rank: int = 0) -> dict[str, Any]:
    """Load and probe; returns the attention backend's class, what did not run, and warnings."""
    from sglang.benchmark import one_batch

    observer = Observer(recorder)
    observer.install()
    runner = load(arguments, tp, rank)
    inner = runner.torch_runner
    recorder.follow(inner.model)
    observer.follow(inner.model)
    ran = Ran(inner.model)
    LEDGER.end_loading()
    tokens = np.random.default_rng(probe.SEED)
    for step in probe.STEPS:
        LEDGER.start_step()
        print(f"probe: {step.name}", flush=True)
        with torch.no_grad(), observer.watching():
            _ask(one_batch, runner, step, tokens, recorder)
    missing = ran.missing()
    return {
        "attention_backend": type(inner.attn_backend).__name__,
        "not_run": missing,
        "warnings": [*observer.finish(), *unexplained(missing)],
    }


def _quieten(one_batch: Any) -> None:
    """Without a tokenizer, and with nothing to evict from a tree cache that is never full."""
    one_batch.get_tokenizer = lambda *a, **k: None
    cache = one_batch.TreeCacheNamespace
    cache.evict_for_alloc = lambda self, *a, **k: None
    cache.available_and_evictable_str = lambda self, *a, **k: ""
    cache.pretty_print = lambda self, *a, **k: ""


def _ask(one_batch: Any, runner: Any, step: probe.Step, tokens: Any, recorder: Recorder) -> None:
    """One step of the probe: prefill (the second half on a cached first half if asked), decode."""
    ids = tokens.integers(0, 10000, (probe.BATCH, step.prompt), dtype=np.int32)
    runner.clear()
    if step.cached_prefix:
        requests = _requests(one_batch, step, ids[:, : probe.PREFIX])
        with recorder.step("prefill"):
            runner.extend(requests)
        requests = one_batch.prepare_extend_inputs_for_correctness_test(
            types.SimpleNamespace(cut_len=probe.PREFIX),
            [row.tolist() for row in ids],
            requests,
            runner.torch_runner,
        )
    else:
        requests = _requests(one_batch, step, ids)
    with recorder.step("prefill on a cached prefix" if step.cached_prefix else "prefill"):
        next_tokens, _, batch = runner.extend(requests)
    for _ in range(step.decode):
        with recorder.step("decode"):
            next_tokens, _ = runner.decode(next_tokens, batch)


def _requests(one_batch: Any, step: probe.Step, ids: Any) -> Any:
    from sglang.srt.sampling.sampling_params import SamplingParams

    requests = one_batch.prepare_synthetic_inputs_for_latency_test(
        len(ids), ids.shape[1], list(ids)
    )
    for request in requests:
        request.sampling_params = SamplingParams(max_new_tokens=8, **step.sampling)
        request.sampling_params.normalize(None)
    return requests
