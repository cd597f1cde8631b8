"""A model cut to its distinct layers calls what the whole model calls."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kerneldefs.capture.record import read_calls

from .test_run import CONFIG, REPOSITORY

# Captures the config of argv with every layer: what the cut is compared with.
WHOLE = """
import sys
from kerneldefs.capture import run
from kerneldefs.capture.layers import Cut
from kerneldefs.capture.simulate.pretence import pretence
pretence(sys.argv.pop(1))
from kerneldefs.capture.simulate import session
session.cut_model = lambda model, load: (Cut(0, 0), lambda built: None)
run.capture_file(*sys.argv[1:], "simulate")
"""
LAYERS = 8  # enough for two full-attention layers of Qwen3-Next, and quick as a whole
FAMILIES = {
    "deepseek-v3": 4,  # three dense layers, then experts
    "kimi-k2": 2,
    "llama-3.1-8b": 1,
    "qwen3-30b-a3b": 1,
    "qwen3-next-80b-a3b": 4,  # three linear-attention layers to one of full attention
}


def called(folder: Path) -> set[str]:
    """What was called, but for how often and in which module."""
    calls = (call.to_json() for call in read_calls(folder / "rank0" / "calls.jsonl"))
    return {json.dumps({**call, "count": 0, "layer": ""}, sort_keys=True) for call in calls}


def dumped(folder: Path) -> dict[str, str]:
    files = (folder / "rank0" / "flashinfer").glob("*.json")
    return {path.name: path.read_text() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "backend"), [("sm_90", "flashinfer"), ("sm_100", None)], ids=["sm_90", "sm_100"]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_cut_model_calls_what_the_whole_model_calls(tmp_path, family, arch, backend):
    bundled = REPOSITORY / "config" / "models" / family / "config.json"
    model = tmp_path / "model"
    model.mkdir()
    config = {**json.loads(bundled.read_text()), "num_hidden_layers": LAYERS}
    (model / "config.json").write_text(json.dumps(config))
    serving = tmp_path / "config.json"
    served = {**CONFIG.to_json(), "arch": arch, "attention_backend": backend}
    serving.write_text(json.dumps(served))
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    command = [sys.executable, "scripts/capture.py", str(serving), "--model-config", str(model)]
    subprocess.run([*command, "--out", str(cut)], cwd=REPOSITORY, check=True)
    command = [sys.executable, "-c", WHOLE, arch, str(serving), str(model), str(whole)]
    subprocess.run(command, cwd=REPOSITORY / "scripts", check=True)

    assert json.loads((cut / "capture.json").read_text())["layers"]["kept"] == FAMILIES[family]
    assert dumped(cut) == dumped(whole)
    assert called(cut) == called(whole)
