import json
import re
from pathlib import Path

import pytest
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.modelconfig import ModelConfig, materialise, read_model_config
from kerneldefs.serving.select import BUNDLED, bundled_models

from .make import MOE, write_model


def read(folder: Path) -> ModelConfig:
    return read_model_config(folder, "o/m", "local")


def test_facts_of_a_plain_config(tmp_path: Path) -> None:
    config = read(write_model(tmp_path, MOE))
    assert (config.experts, config.mixture_of_experts) == (64, True)
    assert (config.dtype, config.quantization) == ("bfloat16", "none")


def test_facts_are_found_in_the_language_part(tmp_path: Path) -> None:
    data = {
        "vision_config": {"num_experts": 7, "torch_dtype": "float32"},
        "text_config": {
            "n_routed_experts": 384,
            "dtype": "torch.bfloat16",
            "quantization_config": {"quant_method": "fp8"},
        },
    }
    config = read(write_model(tmp_path, data))
    assert (config.experts, config.dtype, config.quantization) == (384, "bfloat16", "fp8")


def test_a_dense_model_has_no_experts(tmp_path: Path) -> None:
    config = read(write_model(tmp_path, {"num_attention_heads": 8, "num_experts": 0}))
    assert (config.experts, config.mixture_of_experts, config.dtype) == (None, False, None)


def test_experts_under_another_name_are_still_experts(tmp_path: Path) -> None:
    config = read(write_model(tmp_path, {"expert_share": 3}))
    assert (config.experts, config.mixture_of_experts) == (None, True)


QUANT = {"quant_algo": "FP8", "exclude_modules": []}


def test_digest_hangs_on_content_alone(tmp_path: Path) -> None:
    one = read(write_model(tmp_path / "a", {"a": 1, "b": float("inf")}))
    (tmp_path / "b").mkdir()
    (tmp_path / "b/config.json").write_text('{"b": Infinity,\n "a": 1}')
    assert one.sha256 == read(tmp_path / "b").sha256
    write_model(tmp_path / "b", {"a": 1, "b": float("inf")}, QUANT)
    assert one.sha256 != read(tmp_path / "b").sha256
    assert re.fullmatch("[0-9a-f]{64}", one.sha256)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b"[]", "must hold a JSON object, found list"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "hf_quant_config.json"])
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    write_model(tmp_path, {})
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KerneldefsError, match=f"{name}: {message}"):
        read(tmp_path)


def test_a_quantization_that_says_no_layers_is_no_published_one(tmp_path: Path) -> None:
    cut_down = {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}
    write_model(tmp_path, {}, cut_down)
    with pytest.raises(KerneldefsError, match=r"and not which .*; give the published file"):
        read(tmp_path)
    for whole in (
        {"producer": {"name": "modelopt"}, **cut_down},
        {"quantization": {"quant_algo": "FP8", "exclude_modules": []}},
        {"quantization": {"quant_algo": None}},
    ):
        write_model(tmp_path, {}, whole)
        assert read(tmp_path).quant_data == whole
    write_model(tmp_path, {"quantization_config": {"quant_method": "fp8"}}, cut_down)
    assert read(tmp_path).quantization == "fp8"  # SGLang reads no further


def test_a_directory_without_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(KerneldefsError, match=r"holds no config\.json; give a directory"):
        read(tmp_path)


CODE = {
    "auto_map": {"AutoConfig": "configuration_x.X"},
    "text_config": {"auto_map": {"AutoModel": "modeling_x.X"}, "list": [{"auto_map": {}}]},
    "hidden_size": 8,
}


def test_the_copy_for_sglang_runs_no_code_of_the_repository(tmp_path: Path) -> None:
    source = write_model(tmp_path / "in", CODE, QUANT)
    (source / "modeling_x.py").write_text("raise SystemExit")
    materialise(source, tmp_path / "out", trust_remote_code=False)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["config.json", "hf_quant_config.json"]
    text = (tmp_path / "out/config.json").read_text()
    assert "auto_map" not in text
    assert json.loads(text) == {"hidden_size": 8, "text_config": {"list": [{}]}}
    assert json.loads((tmp_path / "out/hf_quant_config.json").read_text()) == QUANT


def test_the_copy_keeps_the_code_when_it_is_trusted(tmp_path: Path) -> None:
    source = write_model(tmp_path / "in", CODE)
    (source / "modeling_x.py").write_text("x = 1")
    materialise(source, tmp_path / "out", trust_remote_code=True)
    assert json.loads((tmp_path / "out/config.json").read_text()) == CODE
    assert (tmp_path / "out/modeling_x.py").read_text() == "x = 1"


# Published figures; the first block of each line is what shapes are made of.
FIGURES = {
    "kimi-k2": dict(
        hidden_size=7168, num_attention_heads=64, n_routed_experts=384, num_experts_per_tok=8,
        n_group=1, topk_group=1, vocab_size=163840, q_lora_rank=1536, kv_lora_rank=512,
        qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, moe_intermediate_size=2048,
        num_hidden_layers=61, first_k_dense_replace=1, rms_norm_eps=1e-6,
    ),
    "deepseek-v3": dict(
        hidden_size=7168, num_attention_heads=128, n_routed_experts=256, num_experts_per_tok=8,
        n_group=8, topk_group=4, vocab_size=129280, first_k_dense_replace=3, q_lora_rank=1536,
    ),
    "llama-3.1-8b": dict(
        hidden_size=4096, num_attention_heads=32, num_key_value_heads=8, intermediate_size=14336,
        num_hidden_layers=32, vocab_size=128256, rms_norm_eps=1e-5,
    ),
    "llama-3.1-70b": dict(
        hidden_size=8192, num_attention_heads=64, num_key_value_heads=8, intermediate_size=28672,
        num_hidden_layers=80, vocab_size=128256, rms_norm_eps=1e-5,
    ),
    "qwen3-30b-a3b": dict(
        hidden_size=2048, num_attention_heads=32, num_key_value_heads=4, head_dim=128,
        num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768, vocab_size=151936,
    ),
    "qwen3-next-80b-a3b": dict(
        hidden_size=2048, num_attention_heads=16, num_key_value_heads=2, head_dim=256,
        num_experts=512, num_experts_per_tok=10, moe_intermediate_size=512, vocab_size=151936,
        linear_num_key_heads=16, linear_num_value_heads=32, linear_key_head_dim=128,
    ),
}  # fmt: skip


@pytest.mark.parametrize("slug", sorted(FIGURES))
def test_bundled_figures(slug: str) -> None:
    config = read(BUNDLED / slug)
    assert {key: config.data[key] for key in FIGURES[slug]} == FIGURES[slug]
    assert config.dtype == "bfloat16"
    assert config.quantization == ("fp8" if slug in ("kimi-k2", "deepseek-v3") else "none")
    assert "auto_map" not in config.data


def test_every_bundled_model_names_its_repository() -> None:
    assert bundled_models() == {
        "deepseek-v3": "deepseek-ai/DeepSeek-V3",
        "kimi-k2": "moonshotai/Kimi-K2-Instruct",
        "llama-3.1-70b": "meta-llama/Llama-3.1-70B",
        "llama-3.1-8b": "meta-llama/Llama-3.1-8B",
        "qwen3-30b-a3b": "Qwen/Qwen3-30B-A3B",
        "qwen3-next-80b-a3b": "Qwen/Qwen3-Next-80B-A3B-Instruct",
    }
    assert sorted(FIGURES) == sorted(bundled_models())
