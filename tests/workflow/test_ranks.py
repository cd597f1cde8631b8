"""Two ranks of one serving config, captured apart, dump the same definitions."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from kerneldefs.capture import ranks
from kerneldefs.capture.record import read_calls
from kerneldefs.serving.config import ServingConfig

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ServingConfig(
    id="x", model="m", repo_id="org/m", revision="r", model_config_sha256="0", arch="sm_90",
    hardware="H200", gpus_per_node=8, tp=16, dp=1, ep=1, enable_dp_attention=False,
    quantization="none", kv_cache_dtype="auto", page_size=None, attention_backend="flashinfer",
    moe_runner_backend=None, trust_remote_code=False, arguments={}, sources=(), notes=(),
)  # fmt: skip
EXPERTS = {"tp": 2, "ep": 2, "moe_runner_backend": "flashinfer_cutlass"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "changes", "offsets"),
    [
        ("llama-3.1-8b", {}, set()),  # 8 KV heads on 16 ranks: replicated
        ("qwen3-30b-a3b", EXPERTS, {0, 1}),  # each rank holds other experts
    ],
)
def test_ranks_unite(model: str, changes: dict, offsets: set[int], tmp_path: Path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(dataclasses.replace(CONFIG, **changes).to_json()))
    for rank in (0, 1):
        command = [sys.executable, "scripts/capture.py", str(config), "--rank", str(rank)]
        command += ["--model-config", f"config/models/{model}", "--out", str(tmp_path / f"{rank}")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
        (tmp_path / f"{rank}" / f"rank{rank}").rename(tmp_path / f"rank{rank}")
    united = ranks.unite(tmp_path)
    assert united.ranks == (0, 1) and united.names and united.partial == {}
    calls = [call for rank in (0, 1) for call in read_calls(tmp_path / f"rank{rank}/calls.jsonl")]
    assert {c.scalars["ep_rank"] for c in calls if "ep_rank" in c.scalars} == offsets
