"""What is derived in a run, and that what config.json predicts is what is seen to be called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kerneldefs.capture.record import read_calls
from kerneldefs.derive.derive import OBSERVED
from kerneldefs.derive.equivalent import Options
from kerneldefs.derive.predict.inventory import inventory, predicted_calls
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.modelconfig import read_model_config

from .conftest import ROOT, Project


def differing(results: Path, model: str) -> dict[str, set[str]]:
    """Return by config the families in which predicted and observed names differ."""
    source = read_model_config(ROOT / "config/models" / model, model, "bundled")
    found = {}
    for path in sorted((results / "configs").glob("*.json")):
        config = ServingConfig.load(path)
        calls = read_calls(results / "dumps" / config.id / "rank0" / "calls.jsonl")
        seen = inventory((call for call in calls if call.op in OBSERVED), Options())
        told = inventory(predicted_calls(source, config), Options())
        one, other = ({(r.name, r.family) for r in rows if not r.reason} for rows in (seen, told))
        assert one & other
        families = {family for _, family in one ^ other}
        if families:
            found[config.id] = families
    return found


def test_kimi_calls_what_its_config_predicts(real: Project) -> None:
    assert differing(real.path("."), "kimi-k2") == {}


def test_derived_definitions_are_staged_and_marked(real: Project) -> None:
    staged, manifest = real.staged(), json.loads(real.path("manifest.json").read_text())
    gemm = staged["gemm_fp8_nt_groupwise_n2112_k7168"]
    assert "origin:derived" in gemm["tags"]
    paged = staged["mla_paged_decode_h8_ckv512_kpe64_ps64"]
    assert {"origin:derived", "variant:page_size"} <= set(paged["tags"])
    assert "kv_last_page_len" in paged["inputs"]
    ragged = staged["mla_ragged_prefill_causal_h8_qk192_vo128"]  # by another API on sm_100
    assert sum(tag.startswith("fi_api:") for tag in ragged["tags"]) == 2
    captured = staged["mla_paged_decode_h8_ckv512_kpe64_ps1"]  # derived too, in other configs
    assert not any(tag.startswith(("origin:", "variant:")) for tag in captured["tags"])
    classes = {brief["name"]: brief["class"] for brief in manifest["definitions"].values()}
    assert set(classes.values()) == {"captured", "derived"}
    assert classes["mla_paged_decode_h8_ckv512_kpe64_ps1"] == "captured"
    assert real.path("upstream/README.md").exists()


def test_methods_leave_out_one_or_the_other(quick: Project) -> None:
    both = set(quick.staged())
    jobs = quick.run(config="model=kimi-k2 method=capture").jobs
    assert "capture" not in jobs and "derive" not in jobs
    captured = set(quick.staged())
    quick.run(config="model=kimi-k2 method=derive")
    derived = set(quick.staged())
    assert captured | derived == both
    assert captured - derived and derived - captured
    quick.run(config="model=kimi-k2 method=derive op_types=moe variants=none")
    assert {item["op_type"] for item in quick.staged().values()} == {"moe"}


def test_predicting_runs_nothing(empty: Project) -> None:
    words = "model=llama-3.1-8b tp_list=1 hardware=H200 method=predict op_types=gemm,rope"
    jobs = empty.run(config=words).jobs
    assert not {"capture", "normalise"} & set(jobs) and jobs["derive"] == 2
    staged = empty.staged("llama-3.1-8b")
    assert {"gemm_n6144_k4096", "gemm_n28672_k4096"} <= set(staged)
    assert all("origin:predicted" in item["tags"] for item in staged.values())
    assert empty.report("llama-3.1-8b")["ok"]


# Settings -> what must be staged of them, by published sizes.
NAMED = {
    "model=llama-3.1-8b tp_list=1": {
        *("gemm_n6144_k4096", "gemm_n4096_k4096", "gemm_n28672_k4096", "gemm_n4096_k14336"),
        *(f"gqa_paged_{s}_h32_kv8_d128_ps{p}" for s in ("decode", "prefill") for p in (1, 64)),
        *("gqa_ragged_h32_kv8_d128", "rmsnorm_h4096_eps1e-5", "fused_add_rmsnorm_h4096_eps1e-5"),
        *(f"top_{how}_sampling_v128256" for how in ("k", "p", "k_top_p")),
        *("rope_with_cos_sin_cache_neox_style_d128_rd128", "silu_and_mul_h28672"),
    },
    "model=deepseek-v3 tp_list=8 ep_list=8 hardware=H200": {
        "moe_fp8_block_scale_ds_routing_topk8_ng8_kg4_e32_h7168_i2048",
        "gemm_n256_k7168_bf16_bf16_fp32",
        *(f"mla_paged_decode_h16_ckv512_kpe64_ps{p}" for p in (1, 64)),
        *(f"mla_paged_prefill_causal_h16_ckv512_kpe64_ps{p}" for p in (1, 64)),
        "mla_ragged_prefill_causal_h16_qk192_vo128",
    },
    "model=qwen3-next-80b-a3b tp_list=2,4 variants=page_size,sampling,mtp": {
        f"gdn_{stage}_{heads}_d128"
        for stage in ("decode", "prefill", "mtp")
        for heads in ("qk8_v16", "qk4_v8")
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("words", NAMED)
def test_the_definitions_that_a_model_is_known_for_are_staged(empty: Project, words: str) -> None:
    empty.run(config=words)
    (manifest_file,) = (empty.folder / "results").glob("*/manifest.json")
    results = manifest_file.parent
    assert NAMED[words] <= set(empty.staged(results.name))
    report = empty.report(results.name)
    assert report["ok"] and not report["errors"]
    manifest = json.loads(manifest_file.read_text())
    brief = {row["name"]: row for row in manifest["definitions"].values()}
    assert all(brief[name]["execution"] for name in NAMED[words])  # its reference ran


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["deepseek-v3", "llama-3.1-8b", "llama-3.1-70b", "qwen3-30b-a3b", "qwen3-next-80b-a3b"]
)
def test_every_bundled_model_calls_what_its_config_predicts(empty: Project, model: str) -> None:
    empty.run("--until", "capture", config=f"model={model}")
    (configs,) = (empty.folder / "results").glob("*/configs")
    assert differing(configs.parent, model) == {}
