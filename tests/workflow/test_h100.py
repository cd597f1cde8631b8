"""The simulation against what a real H100 dumped, byte for byte.

tests/data/h100_dumps.json holds the sha256 of every file that FlashInfer 0.6.15.post1 dumped under
SGLang 0.5.17 on one NVIDIA H100 (TP 1, attention backend flashinfer, dummy weights, two layers).
tests/data/h100 holds what the engine backend recorded on one H100, and (`@tp2`) on two: their ranks
dumped the same files and, but for their own number, made the same calls; rank 0's are kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from kerneldefs.capture.parity import kind_of
from kerneldefs.capture.record import KernelCall, read_calls

ROOT = Path(__file__).resolve().parents[2]
REAL = json.loads((ROOT / "tests" / "data" / "h100_dumps.json").read_text())

# Run on the H100 -> model, and what the simulation sees beyond it: those two runs asked for no
# request on a cached prefix, which alone brings paged prefill and merged attention states.
RUNS = {
    "llama31_8b_tp1_full_probe": ("llama-3.1-8b", set()),
    "llama31_8b_tp1": (
        "llama-3.1-8b",
        {"gqa_paged_prefill_h32_kv128_d128_ps8.json", "merge_state_h32_d128.json"},
    ),
    "kimi_k2": ("kimi-k2", set()),
}


# What is said of experts since the runs on one GPU were recorded; those on two say it.
SAID_SINCE = ("activations", "biased")
MODELS = ("llama-3.1-8b", "qwen3-30b-a3b", "kimi-k2", "deepseek-v3", "qwen3-next-80b-a3b")
TWO_RANKS = (
    "llama-3.1-8b@tp2",
    "qwen3-30b-a3b@tp2",
    "qwen3-30b-a3b@tp2-ep2",
    "kimi-k2@tp2",
    "deepseek-v3@tp2",
)
# Operators that no layer hook claims; the runs on one GPU did not watch for them.
UNWATCHED = "matrix product"


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def config(model: str, layout: str = "tp1") -> dict:
    """A serving config of the runs on the H100s."""
    tp, _, ep = layout.removeprefix("tp").partition("-ep")
    command = [sys.executable, "scripts/expand.py", f"model={model}", f"tp_list={tp}", "--json"]
    command += ["hardware=H100,H200", "attention_backends=flashinfer"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    [plan] = json.loads(done.stdout)
    same = (c for c in plan["configs"] if not c["enable_dp_attention"])
    return next(c for c in same if c["ep"] == int(ep or 1))


def without(call: KernelCall, facts: Sequence[str]) -> KernelCall:
    scalars = {key: value for key, value in call.scalars.items() if key not in facts}
    return dataclasses.replace(call, scalars=scalars)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_every_file_of_the_real_run_is_reproduced(name: str, older_release: Path, tmp_path: Path):
    model, beyond = RUNS[name]
    (tmp_path / "config.json").write_text(json.dumps(config(model)))
    command = [str(older_release), "scripts/capture.py", str(tmp_path / "config.json")]
    command += ["--model-config", f"config/models/{model}", "--out", str(tmp_path / "out")]
    run(command)
    dumped = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (tmp_path / "out" / "rank0" / "flashinfer").iterdir()
    }
    assert {file: dumped.get(file) for file in REAL[name]} == REAL[name]
    assert set(dumped) - set(REAL[name]) == beyond


@pytest.mark.slow
@pytest.mark.parametrize("name", (*MODELS, *TWO_RANKS))
def test_every_call_of_the_real_engine_is_simulated(name: str, older_release: Path, tmp_path: Path):
    """The files that the engine backend's own runs dumped, and the kinds of calls that it saw."""
    model, _, layout = name.partition("@")
    (tmp_path / "config.json").write_text(json.dumps(config(model, layout or "tp1")))
    command = [str(older_release), "scripts/capture.py", str(tmp_path / "config.json")]
    command += ["--model-config", f"config/models/{model}", "--out", str(tmp_path / "out")]
    run(command)
    data = ROOT / "tests" / "data" / "h100"
    rank = tmp_path / "out" / "rank0"
    dumped = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (rank / "flashinfer").iterdir()
    }
    assert dumped == json.loads((data / f"{name}.json").read_text())["dumped"]
    later = () if name in TWO_RANKS else SAID_SINCE
    real, simulated = (
        {kind_of(without(call, later)) for call in read_calls(path) if call.tensors}
        for path in (data / f"{name}.jsonl", rank / "calls.jsonl")
    )
    assert real - simulated == set()
    unseen = {json.loads(kind)[0] for kind in simulated - real}
    assert unseen == (set() if name in TWO_RANKS else {UNWATCHED})
