"""The target `parity`: refused in a sentence without a GPU, and two captures compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from kerneldefs import plan
from kerneldefs.capture.parity import kind_of
from kerneldefs.capture.record import read_calls, write_calls
from kerneldefs.files import write_json, write_text

from .conftest import ROOT, Project

LLAMA = "llama-3.1-8b"
SETTINGS = {
    "model": LLAMA,
    "hardware": "H200",
    "tp_list": "1",
    "attention_backends": "flashinfer",
    "backend": "simulate",
}
CONFIG = " ".join(f"{key}={value}" for key, value in SETTINGS.items())
# Nothing but files decides what runs: the captures here are put in place by hand.
BY_FILES = ("--rerun-triggers", "mtime")
H100 = ROOT / "tests" / "data" / "h100" / f"{LLAMA}.jsonl"  # what one H100 was seen to call


@pytest.fixture
def config(empty: Project) -> str:
    """The id of the one config, whose simulated capture is there: what the H100 showed."""
    run = plan.load(SETTINGS, may_fetch=False)
    [found] = run.plans[LLAMA].configs
    write_text(empty.path(f"configs/{found.id}.json", LLAMA), run.config_text(LLAMA, found.id))
    put(empty.path(f"dumps/{found.id}", LLAMA), "simulate")
    return found.id


def put(folder: Path, backend: str, **versions: str) -> Path:
    """Put a capture in place, with the H100's calls and one dumped definition."""
    rank = folder / "rank0"
    (rank / "flashinfer").mkdir(parents=True)
    write_json(rank / "flashinfer" / "rmsnorm_h4096.json", {"name": "rmsnorm_h4096"})
    shutil.copy2(H100, rank / "calls.jsonl")
    summary = {"status": "captured", "backend": backend, "versions": versions}
    write_json(folder / "capture.json", summary)
    return folder


def compared(project: Project, config: str) -> dict[str, Any]:
    """Ask for the whole target, in which only the comparison is left to do."""
    result = project.run("parity", *BY_FILES, config=CONFIG)
    assert result.jobs == {"compare": 1, "parity": 1}
    found: dict[str, Any] = json.loads(project.path(f"parity/{config}.json", LLAMA).read_text())
    return found


def test_no_gpu_is_a_sentence_and_no_capture(empty: Project, config: str) -> None:
    result = empty.run("parity", *BY_FILES, config=CONFIG, ok=False)
    assert result.jobs == {"capture_other": 1, "compare": 1, "parity": 1}
    lines = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert lines and all("no NVIDIA driver answers on this machine" in line for line in lines)
    assert "Traceback" not in result.output
    for name in (f"others/{config}", f"parity/{config}.json"):
        assert not empty.path(name, LLAMA).exists()
    assert empty.path(f"logs/others/{config}.log", LLAMA).read_text().startswith("error: ")


def test_two_captures_that_are_there_are_compared(empty: Project, config: str) -> None:
    other = put(empty.path(f"others/{config}", LLAMA), "engine")
    found = compared(empty, config)
    real = {kind_of(call) for call in read_calls(H100)}
    assert found["whole"] is True and found["definitions"] == [1, 1]
    assert found["calls"] == [len(real)] * 2 and found["same_calls"] == len(real)

    shutil.rmtree(other)
    put(other, "engine", sglang="0.5.17")
    (other / "rank0" / "flashinfer" / "rmsnorm_h4096.json").unlink()
    calls = list(read_calls(H100))
    fewer = [call for call in calls if kind_of(call) != kind_of(calls[0])]
    write_calls(other / "rank0" / "calls.jsonl", fewer)
    found = compared(empty, config)  # differences are a result, and no failure
    assert found["whole"] is False
    assert found["differences"][:2] == [
        "releases differ: sglang None and 0.5.17",
        "rmsnorm_h4096: dumped by the first only",
    ]
    assert found["differences"][2].startswith("call seen by the first only")


def test_a_capture_that_is_not_whole_is_no_comparison(empty: Project, config: str) -> None:
    other = put(empty.path(f"others/{config}", LLAMA), "engine")
    write_json(other / "capture.json", {"status": "refused", "reason": "SGLang: no."})
    result = empty.run("parity", *BY_FILES, config=CONFIG, ok=False)
    assert "status is 'refused', so there is nothing to compare" in result.output
    assert not empty.path(f"parity/{config}.json", LLAMA).exists()
