"""One model of each family is captured with every pair of releases of SGLang and FlashInfer."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from kerneldefs.capture.simulate.releases import RELEASES
from kerneldefs.serving.configsource import PACKAGES

from .conftest import ROOT, interpreter

# Bundled, so that nothing else is needed: grouped-query attention; multi-head latent attention with
# experts in FP8; experts of an unquantized model; gated delta net.
BUNDLED = ("llama-3.1-8b", "kimi-k2", "qwen3-30b-a3b", "qwen3-next-80b-a3b")
# With the package of configs: sparse attention, Mamba with experts, sliding window, MXFP4, NVFP4,
# compressed tensors in INT4, and the language part of a multimodal model.
PUBLISHED = (
    "zai-org/GLM-5-FP8",
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "google/gemma-4-26B-A4B",
    "openai/gpt-oss-20b",
    "nvidia/DeepSeek-V3.1-NVFP4",
    "moonshotai/Kimi-K2.5",
    "Qwen/Qwen3-VL-8B-Instruct",
)


def outcomes(release: str, words: list[str], folder: Path) -> dict[str, dict]:
    """Try models at TP 1 on two architectures; return outcomes by model and serving config."""
    installed = metadata.version("sglang") == release
    python = Path(sys.executable) if installed else interpreter(release)
    command = [str(python), "scripts/coverage.py", *words, "tp_list=1", "ep_list=1", "--further="]
    command += [f"results={folder}/trials", "--out", str(folder / "coverage.md")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {
        "/".join(path.parts[-3:-1]): json.loads(path.read_text())
        for path in sorted((folder / "trials").glob("*/*/outcome.json"))
    }
    assert f"sglang {release}, " in (folder / "coverage.md").read_text()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("pair", RELEASES, ids=lambda pair: f"sglang-{pair.sglang}")
def test_every_family_is_captured(pair, tmp_path: Path) -> None:
    found = outcomes(pair.sglang, [f"model={','.join(BUNDLED)}"], tmp_path)
    assert len(found) == 4 * len(BUNDLED)
    lost = {key: one["reason"] for key, one in found.items() if one["status"] != "captured"}
    for key, reason in lost.items():  # what SGLang itself will not do when a backend is forced
        assert key.endswith("-flashinfer") and reason.startswith("SGLang: "), lost
    assert len(lost) <= 1, lost  # 0.5.17: gated delta net on sm_100
    for one in (one for key, one in found.items() if key not in lost):
        assert one["versions"]["sglang"] == pair.sglang
        assert one["versions"]["flashinfer-python"] == pair.flashinfer
        assert {"rmsnorm", "sampling"} <= set(one["definitions"])
    for key in (key for key in found if key.startswith("moonshotai--Kimi-K2")):
        assert "mla_paged" in found[key]["definitions"] or ("sm_90" in key and "auto" in key), key


@pytest.mark.slow
@pytest.mark.parametrize("pair", RELEASES, ids=lambda pair: f"sglang-{pair.sglang}")
def test_families_with_a_published_config_are_captured_or_refused(pair, tmp_path: Path) -> None:
    (package,) = PACKAGES
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed: run `make configs`")
    words = [f"model={','.join(PUBLISHED)}", f"config_sources={package}"]
    found = outcomes(pair.sglang, words, tmp_path)
    assert len(found) == 4 * len(PUBLISHED)
    assert {key: one["reason"] for key, one in found.items() if one["status"] == "failed"} == {}
    for model in PUBLISHED:
        mine = [one for key, one in found.items() if key.startswith(model.replace("/", "--"))]
        assert any(one["status"] == "captured" for one in mine), model
