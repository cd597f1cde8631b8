"""What is predicted of bundled models, written down from their published sizes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from kerneldefs.derive.equivalent import VARIANTS, Options
from kerneldefs.derive.predict import unquantized
from kerneldefs.derive.predict.calls import Subject
from kerneldefs.serving.expected import expected
from kerneldefs.serving.modelconfig import read_model_config

from .make import MODELS, ROOT, config, predicted

LLAMA = {
    "gemm_n6144_k4096",  # 32 query heads and twice 8 KV heads of 128
    "gemm_n4096_k4096",
    "gemm_n28672_k4096",
    "gemm_n4096_k14336",
    "gemm_n128256_k4096",
    "gqa_paged_decode_h32_kv8_d128_ps1",
    "gqa_paged_decode_h32_kv8_d128_ps64",
    "gqa_paged_prefill_h32_kv8_d128_ps1",
    "gqa_paged_prefill_h32_kv8_d128_ps1_noncausal",
    "gqa_paged_prefill_h32_kv8_d128_ps64",
    "gqa_ragged_h32_kv8_d128",
    "merge_state_h32_d128",
    "append_paged_kv_cache_kv8_d128_ps1",
    "append_paged_kv_cache_kv8_d128_ps64",
    "rmsnorm_h4096_eps1e-5",
    "fused_add_rmsnorm_h4096_eps1e-5",
    "top_k_sampling_v128256",
    "top_p_sampling_v128256",
    "top_k_top_p_sampling_v128256",
    "top_k_top_p_sampling_v128256_joint",  # what SGLang asks for
    "top_k_renorm_probs_v128256",  # and of requests with min-p
    "top_p_renorm_probs_v128256",
    "min_p_sampling_v128256",
    "rope_with_cos_sin_cache_neox_style_d128_rd128",
    "silu_and_mul_h28672",
}


def test_llama_on_one_gpu() -> None:
    assert set(predicted("llama-3.1-8b")) == LLAMA


def test_deepseek_over_eight_ranks() -> None:
    names = set(predicted("deepseek-v3", tp=8, ep=8))
    assert names >= {
        "moe_fp8_block_scale_ds_routing_topk8_ng8_kg4_e32_h7168_i2048",
        "gemm_n256_k7168_bf16_bf16_fp32",  # the router, whose product is in single precision
        "mla_paged_decode_h16_ckv512_kpe64_ps1",
        "mla_paged_decode_h16_ckv512_kpe64_ps64",
        "mla_paged_prefill_causal_h16_ckv512_kpe64_ps1",
        "mla_paged_prefill_causal_h16_ckv512_kpe64_ps64",
        "mla_ragged_prefill_causal_h16_qk192_vo128",
        "gemm_fp8_nt_groupwise_n2112_k7168",  # 1536 + 512 + 64
        "rope_with_cos_sin_cache_gptj_style_d64_rd64",
        "bmm_bf16_N512_K128",
        "bmm_bf16_N128_K512",
    }


@pytest.mark.parametrize(("tp", "heads"), [(2, "qk8_v16"), (4, "qk4_v8")])
def test_qwen3_next_splits_its_linear_heads(tp: int, heads: str) -> None:
    names = set(predicted("qwen3-next-80b-a3b", Options(VARIANTS), tp=tp))
    assert {f"gdn_{stage}_{heads}_d128" for stage in ("decode", "prefill", "mtp")} <= names
    assert "gdn_mtp_qk8_v16_d128" not in predicted("qwen3-next-80b-a3b", tp=2)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"tp": 8, "ep": 8}, "moe_fp8_block_scale_ds_routing_topk8_ng1_kg1_e48_h7168_i2048"),
        ({"tp": 8, "ep": 4}, "moe_fp8_block_scale_ds_routing_topk8_ng1_kg1_e96_h7168_i1024"),
        (
            {"tp": 8, "dp": 4, "enable_dp_attention": True},
            "mla_paged_decode_h32_ckv512_kpe64_ps1",
        ),
    ],
)
def test_kimi_k2_follows_the_split(changes: dict[str, int], name: str) -> None:
    assert name in predicted("kimi-k2", **changes)


def test_variants_are_marked_and_can_be_left_out() -> None:
    rows = predicted("llama-3.1-8b")
    marked = {row.name for row in rows.values() if row.variant}
    assert marked == {
        "gqa_paged_decode_h32_kv8_d128_ps64",
        "gqa_paged_prefill_h32_kv8_d128_ps64",
        "append_paged_kv_cache_kv8_d128_ps64",
        "top_k_sampling_v128256",
        "top_p_sampling_v128256",
        "top_k_top_p_sampling_v128256",
    }
    assert set(predicted("llama-3.1-8b", Options(()))) == set(rows) - marked
    unfused = predicted("llama-3.1-8b", Options(("unfused",)))
    assert unfused["gemm_n1024_k4096"].variant == "unfused"
    assert not unfused["gemm_n4096_k4096"].variant  # o_proj has this shape, and runs


def test_experts_in_other_formats_are_a_variant() -> None:
    rows = predicted("deepseek-v3", Options(("quantization",)), tp=8, ep=8)
    experts = {name: row.variant for name, row in rows.items() if row.family == "moe"}
    sizes = "topk8_ng8_kg4_e32_h7168_i2048"
    assert experts == {
        f"moe_fp8_block_scale_ds_routing_{sizes}": "",
        f"moe_bf16_ds_routing_{sizes}": "quantization",
        "moe_fp4_block_scale_ds_routing_topk8_e32_h7168_i2048_act3_ng8_kg4": "quantization",
        f"moe_fp8_per_tensor_ds_routing_{sizes}": "quantization",
        f"moe_mxfp8_block_scale_ds_routing_{sizes}": "quantization",
        f"moe_bf16_mxfp4_block_scale_ds_routing_{sizes}": "quantization",
    }


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        ("self_attn.qkv_proj", unquantized.ALL),  # whose checkpoints have q_proj, k_proj, v_proj
        ("self_attn.o_proj", unquantized.NONE),
        ("mlp.down_proj", unquantized.SOME),
        ("mixer.in_proj", unquantized.ALL),
    ],
)
def test_modules_that_keep_their_weights(layer: str, found: str) -> None:
    table = {"ignore": ["lm_head", "model.layers.*.mixer"]}
    named = [f"model.layers.{n}.self_attn.q_proj" for n in range(4)]
    more = {"quantization": {"exclude_modules": [*named, "backbone.layers.2.mlp.down_proj"]}}
    patterns = unquantized.left_out({"quantization_config": table}, more)
    assert unquantized.share(patterns, layer, range(4)) == found


@pytest.mark.parametrize(
    ("layer", "layers", "found"),
    [
        ("mlp.down_proj", [0], unquantized.ALL),  # of the one dense layer, which is left out whole
        ("mlp.shared_experts.down_proj", [1, 2], unquantized.ALL),
        ("mlp.shared_experts.down_proj", [1, 2, 3], unquantized.SOME),
        ("self_attn.o_proj", [0, 1, 2], unquantized.SOME),
        ("self_attn.indexer.wk", [1], unquantized.ALL),
        ("self_attn.o_proj", [1, 2], unquantized.NONE),
    ],
)
def test_layers_and_blocks_that_are_left_out_whole(
    layer: str, layers: list[int], found: str
) -> None:
    shared = tuple(f"language_model.model.layers.{n}.mlp.shared_expert*" for n in (1, 2))
    indexer = "model.layers.1.self_attn.indexer*"
    aside = ("mtp.layers.1*", "model.visual.layers.1.self_attn.o_proj")
    patterns = ("model.layers.0*", *shared, indexer, *aside)
    assert unquantized.share(patterns, layer, layers) == found


def test_only_layers_that_have_a_module_count() -> None:
    """Of four layers the last one has attention over keys, which keeps its weights."""
    types = ["linear_attention"] * 3 + ["full_attention"]
    serving = config("llama-3.1-8b")
    model = read_model_config(MODELS / "llama-3.1-8b", "llama-3.1-8b", "bundled")
    data = {"num_hidden_layers": 4, "layer_types": types}
    plain = ("model.layers.3.self_attn*",)
    subject = Subject(data, expected(model, serving), serving, "bfloat16", plain)
    assert subject.unquantized("self_attn.o_proj") == unquantized.ALL
    assert subject.unquantized("linear_attn.out_proj") == unquantized.NONE


def test_page_sizes_are_those_asked_for() -> None:
    rows = predicted("llama-3.1-8b", Options(("page_size",), (1, 16)))
    assert "gqa_paged_decode_h32_kv8_d128_ps16" in rows
    assert "gqa_paged_decode_h32_kv8_d128_ps64" not in rows


def test_the_command_needs_no_torch_and_says_the_class() -> None:
    words = ["scripts/inventory.py", "model=llama-3.1-8b", "tp_list=1"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not imported & {"torch", "sglang", "flashinfer"}
    lines = [line.split() for line in done.stdout.splitlines() if "/" in line]
    classes = {line[1].partition("/")[2]: line[0] for line in lines}
    assert set(classes) == LLAMA
    assert classes["rmsnorm_h4096_eps1e-5"] == "captured"
    assert classes["gemm_n6144_k4096"] == "derived"
