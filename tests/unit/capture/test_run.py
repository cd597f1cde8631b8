"""The capture command: whole or not at all, refusals told from failures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kerneldefs.capture.run import capture
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.config import ServingConfig, Source

REPOSITORY = Path(__file__).parents[3]
CONFIG = ServingConfig(
    id="h100-tp1-none-flashinfer",
    model="llama-3.1-8b",
    repo_id="meta-llama/Llama-3.1-8B",
    revision="bundled",
    model_config_sha256="0" * 64,
    arch="sm_90",
    hardware="H100",
    gpus_per_node=8,
    tp=1,
    dp=1,
    ep=1,
    enable_dp_attention=False,
    quantization="none",
    kv_cache_dtype="auto",
    page_size=None,
    attention_backend="flashinfer",
    moe_runner_backend=None,
    trust_remote_code=False,
    arguments={},
    sources=(Source("none", "H100", "default"),),
    notes=(),
)


def model_config(folder: Path, **changes) -> Path:
    bundled = REPOSITORY / "config" / "models" / "llama-3.1-8b" / "config.json"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**json.loads(bundled.read_text()), **changes}))
    return folder


def run_command(tmp_path: Path, model: Path, **changes) -> subprocess.CompletedProcess:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**CONFIG.to_json(), **changes}))
    command = [sys.executable, "scripts/capture.py", str(config), "--model-config", str(model)]
    return subprocess.run(
        [*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, cwd=REPOSITORY
    )


def test_a_model_class_that_sglang_does_not_have_is_refused_with_its_reason(tmp_path):
    model = model_config(tmp_path / "model", architectures=["NoSuchForCausalLM"])
    done = run_command(tmp_path, model)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["capture.json"]
    summary = json.loads((tmp_path / "out" / "capture.json").read_text())
    assert summary["status"] == "refused"
    assert "NoSuchForCausalLM" in summary["reason"]
    assert summary["versions"]["sglang"] != "absent"


def test_an_argument_that_sglang_does_not_have_is_an_error_and_leaves_nothing(tmp_path):
    done = run_command(
        tmp_path, model_config(tmp_path / "model"), arguments={"moe_runner_backnd": "triton"}
    )
    assert done.returncode == 1
    assert "no server argument 'moe_runner_backnd'; nearest: moe_runner_backend" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model"]


def test_a_failed_capture_keeps_the_last_one(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "capture.json").write_text("{}")
    model = model_config(tmp_path / "model", num_hidden_layers=None)
    done = run_command(tmp_path, model)  # in a process of its own, since it pretends a GPU
    assert done.returncode == 1 and "num_hidden_layers" in done.stderr
    assert (out / "capture.json").read_text() == "{}"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model", "out"]


def test_an_unknown_backend_is_an_error_that_names_one_that_works(tmp_path):
    with pytest.raises(KerneldefsError, match="simulate"):
        capture(CONFIG, tmp_path, tmp_path / "out", "emulate")
