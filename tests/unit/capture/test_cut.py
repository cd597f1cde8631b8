"""A model cut to its distinct layers calls what the whole model calls."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from kerneldefs.capture.layers import keep_leading
from kerneldefs.capture.record import read_calls
from kerneldefs.serving.configsource import PACKAGES, open_sources
from kerneldefs.serving.modelconfig import CONFIG as CONFIG_FILE
from kerneldefs.serving.modelconfig import QUANT_CONFIG, read_model_config

from .test_run import CONFIG, REPOSITORY

# Captures the config of argv with every layer: what the cut is compared with.
WHOLE = """
import sys
from kerneldefs.capture import run
from kerneldefs.capture.layers import Cut
from kerneldefs.capture.simulate.pretence import pretence
pretence(sys.argv.pop(1))
from kerneldefs.capture.simulate import session
session.cut_model = lambda model, load, kept: (Cut(0, 0), lambda built: None)
run.capture_file(*sys.argv[1:], "simulate")
"""
LAYERS = 8  # enough for two full-attention layers of Qwen3-Next, and quick as a whole
BUNDLED = {
    "deepseek-v3": 4,  # three dense layers, then experts
    "kimi-k2": 2,
    "llama-3.1-8b": 1,
    "qwen3-30b-a3b": 1,
    "qwen3-next-80b-a3b": 4,  # three linear-attention layers to one of full attention
}
# With the package of configs: the families of tests/workflow/test_versions.py.
PUBLISHED = {
    "zai-org/GLM-5-FP8": 4,
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": 7,
    "google/gemma-4-26B-A4B": 6,
    "openai/gpt-oss-20b": 2,
    "nvidia/DeepSeek-V3.1-NVFP4": 4,
    "moonshotai/Kimi-K2.5": 2,
    "Qwen/Qwen3-VL-8B-Instruct": 1,
}
# Where 8 layers hold the kinds but once: attention is every sixth or seventh of these.
LONGER = {"nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": 14}


def called(folder: Path) -> set[str]:
    """What was called, but for how often and in which module."""
    calls = (call.to_json() for call in read_calls(folder / "rank0" / "calls.jsonl"))
    return {json.dumps({**call, "count": 0, "layer": ""}, sort_keys=True) for call in calls}


def dumped(folder: Path) -> dict[str, str]:
    files = (folder / "rank0" / "flashinfer").glob("*.json")
    return {path.name: path.read_text() for path in files}


def write_leading_layers(found, model: Path, layers: int = LAYERS) -> None:
    """Write the directory of a model that has its first layers alone."""
    model.mkdir()
    (model / CONFIG_FILE).write_text(json.dumps(keep_leading(found.data, layers)))
    if found.quant_data is not None:
        (model / QUANT_CONFIG).write_text(json.dumps(found.quant_data))


def compare_with_whole(folder: Path, arch: str, backend: str | None, kept: int) -> None:
    """Capture the model in `folder` cut and whole; both call the same, with `kept` layers."""
    serving, model = folder / "config.json", folder / "model"
    served = {**CONFIG.to_json(), "arch": arch, "attention_backend": backend}
    serving.write_text(json.dumps(served))
    cut, whole = folder / "cut", folder / "whole"
    command = [sys.executable, "scripts/capture.py", str(serving), "--model-config", str(model)]
    subprocess.run([*command, "--out", str(cut)], cwd=REPOSITORY, check=True)
    command = [sys.executable, "-c", WHOLE, arch, str(serving), str(model), str(whole)]
    subprocess.run(command, cwd=REPOSITORY / "scripts", check=True)

    assert json.loads((cut / "capture.json").read_text())["layers"]["kept"] == kept
    assert dumped(cut) == dumped(whole)
    assert called(cut) == called(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "backend"), [("sm_90", "flashinfer"), ("sm_100", None)], ids=["sm_90", "sm_100"]
)
@pytest.mark.parametrize("family", BUNDLED)
def test_the_cut_model_calls_what_the_whole_model_calls(tmp_path, family, arch, backend):
    bundled = read_model_config(REPOSITORY / "config" / "models" / family, "", "")
    write_leading_layers(bundled, tmp_path / "model")
    compare_with_whole(tmp_path, arch, backend, BUNDLED[family])


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_90", "sm_100"])
@pytest.mark.parametrize("family", PUBLISHED)
def test_a_published_model_calls_the_same_when_cut(tmp_path, family, arch):
    (package,) = PACKAGES
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed: run `make configs`")
    (source,) = open_sources([package])
    layers = LONGER.get(family, LAYERS)
    write_leading_layers(source.find(family), tmp_path / "model", layers)
    compare_with_whole(tmp_path, arch, None, PUBLISHED[family])
