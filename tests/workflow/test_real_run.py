"""Kimi-K2 and Llama 3.1 8B, captured for real: what must come out, and that it comes out once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import KIMI, Project

LLAMA = "llama-3.1-8b"
# Kimi-K2 at TP8: 64 heads over 8 ranks, or over attn_tp = tp/dp = 2 with DP attention.
KIMI_NAMES = {
    "rmsnorm_h7168",
    "rmsnorm_h1536",
    "rmsnorm_h512",
    "fused_add_rmsnorm_h7168",
    "mla_paged_decode_h8_ckv512_kpe64_ps1",
    "mla_paged_decode_h32_ckv512_kpe64_ps1",
    "mla_ragged_prefill_causal_h8_qk192_vo128",
    "mla_ragged_prefill_causal_h32_qk192_vo128",
    "moe_fp8_block_scale_ds_routing_topk8_ng1_kg1_e384_h7168_i256",
    "moe_fp8_block_scale_ds_routing_topk8_ng1_kg1_e96_h7168_i1024",
    "min_p_sampling_v163840",
    "top_k_renorm_probs_v163840",
    "top_p_renorm_probs_v163840",
}


@pytest.fixture(scope="session")
def llama(real: Project) -> Project:
    """The project of the real run, in which Llama was captured as well."""
    real.run(config=f"model={LLAMA} hardware=H200 attention_backends=flashinfer")
    return real


def axes(definition: dict[str, Any]) -> dict[str, int]:
    """Return a definition's constant axes."""
    return {name: axis["value"] for name, axis in definition["axes"].items() if "value" in axis}


def test_kimi_stages_what_it_must(real: Project) -> None:
    staged = real.staged()
    assert set(staged) >= KIMI_NAMES
    assert any(name.startswith("top_k_top_p_sampling_v163840") for name in staged)
    for name, definition in staged.items():
        assert definition["name"] == name
        assert f"model:{KIMI}" in definition["tags"]
        assert "def run(" in definition["reference"]


def test_kimi_shapes_are_those_of_its_ranks(real: Project) -> None:
    staged = real.staged()
    decode = staged["mla_paged_decode_h8_ckv512_kpe64_ps1"]
    assert set(axes(decode).values()) == {8, 512, 64, 1}
    assert "tp:8" in decode["tags"]
    ragged = staged["mla_ragged_prefill_causal_h8_qk192_vo128"]
    assert {8, 192, 128} <= set(axes(ragged).values())
    split = staged["moe_fp8_block_scale_ds_routing_topk8_ng1_kg1_e96_h7168_i1024"]
    assert {"tp:8", "ep:4", "quantization:fp8"} <= set(split["tags"])
    assert not any(tag.startswith("tp:") for tag in staged["rmsnorm_h7168"]["tags"])


def test_report_accounts_for_every_config(real: Project) -> None:
    report = real.report()
    configs = {path.stem for path in real.path("configs").iterdir()}
    assert report["ok"] and not report["errors"]
    assert len(configs) == 12
    assert {name: one["status"] for name, one in report["captures"].items()} == dict.fromkeys(
        configs, "captured"
    )
    assert {item["name"] for item in report["definitions"]} == set(real.staged())
    assert f"{len(real.staged())} definitions" in real.path("report.txt").read_text()


def test_captures_stay_small(real: Project) -> None:
    """The memory that the capture rule asks for, 1500 MB, is more than a capture takes."""
    logs = sorted(real.path("logs/capture").glob("*.log"))
    assert len(logs) == 12
    for log in logs:
        match = re.search(r"peak ([0-9.]+) GB", log.read_text())
        assert match, log.read_text()
        assert 0.1 < float(match[1]) < 1.5


def test_second_run_does_nothing(real: Project) -> None:
    assert "Nothing to be done" in real.run().output


def test_moved_project_has_nothing_to_do(real: Project, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    subprocess.run(["cp", "-a", str(real.folder), str(moved)], check=True)
    assert "Nothing to be done" in Project(moved).run().output


def test_dry_run_imports_neither_torch_nor_the_engine(empty: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "snakemake", "-n", "--config", "model=kimi-k2"],
        cwd=empty.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "kerneldefs.serving.expand" in imported
    packages = {name.split(".")[0] for name in imported}
    assert not packages & {"torch", "sglang", "flashinfer"}
    assert not (empty.folder / "results").exists()


def test_llama_has_its_true_shapes(llama: Project) -> None:
    staged = llama.staged(LLAMA)
    decode = staged["gqa_paged_decode_h32_kv8_d128_ps1"]
    assert set(axes(decode).values()) == {32, 8, 128, 1}
    assert "gqa_ragged_h32_kv8_d128" in staged or (
        "gqa_ragged_prefill_causal_h32_kv8_d128" in staged
    )
    assert llama.report(LLAMA)["ok"]


def test_dump_is_flashinfers_own(llama: Project) -> None:
    """What FlashInfer wrote stays as it was, the wrong name included; repairs come after."""
    (dump,) = llama.path("dumps", LLAMA).glob("*/rank0/flashinfer")
    names = {path.stem for path in dump.glob("*.json")}
    assert "gqa_paged_decode_h32_kv128_d128_ps8" in names
    assert json.loads((dump / "rmsnorm_h4096.json").read_text())["name"] == "rmsnorm_h4096"


@pytest.mark.parametrize(
    "model",
    [
        *(pytest.param(m, marks=pytest.mark.slow) for m in ("deepseek-v3", "llama-3.1-70b")),
        pytest.param("qwen3-30b-a3b", marks=pytest.mark.slow),
        "qwen3-next-80b-a3b tp_list=2 hardware=H200",
    ],
)
def test_every_bundled_model_is_captured_without_a_doubt(empty: Project, model: str) -> None:
    empty.run(config=f"model={model}")
    (path,) = empty.folder.glob("results/*/report.json")
    report = json.loads(path.read_text())
    assert report["ok"]
    assert report["definitions"]
    captures = [json.loads(p.read_text()) for p in path.parent.glob("dumps/*/capture.json")]
    assert captures
    assert [line for capture in captures for line in capture["warnings"]] == []


@pytest.mark.slow
def test_model_class_that_sglang_lacks_is_refused_by_name(empty: Project) -> None:
    folder = empty.folder / "config/models/llama-3.1-8b"
    config = json.loads((folder / "config.json").read_text())
    (empty.folder / "odd").mkdir()
    (empty.folder / "odd/config.json").write_text(
        json.dumps(config | {"architectures": ["NoSuchForCausalLM"]})
    )
    result = empty.run(config="model=odd hardware=H200 attention_backends=flashinfer", ok=False)
    assert "NoSuchForCausalLM" in result.output
    assert "Traceback" not in result.output
    assert os.listdir(empty.folder / "results")
