"""What configs predict, against sizes that were seen or that SGLang's layers are built with."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.expected import expected
from kerneldefs.serving.modelconfig import ModelConfig, read_model_config
from kerneldefs.serving.ranksizes import RankSizes
from kerneldefs.serving.select import BUNDLED

SERVED = ServingConfig(
    id="c",
    model="m",
    repo_id="o/m",
    revision="local",
    model_config_sha256="",
    arch="sm_90",
    hardware="H200",
    gpus_per_node=8,
    tp=8,
    dp=1,
    ep=1,
    enable_dp_attention=False,
    quantization="none",
    kv_cache_dtype="auto",
    page_size=None,
    attention_backend=None,
    moe_runner_backend=None,
    trust_remote_code=False,
    arguments={},
    sources=(),
    notes=(),
)
HYBRID = {
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "hidden_size": 2688,
    "mamba_num_heads": 64,
    "mamba_head_dim": 64,
    "ssm_state_size": 128,
    "n_groups": 8,
}
SLIDING = {
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 192,
    "v_head_dim": 128,
    "hidden_size": 4096,
    "sliding_window": 128,
    "swa_num_key_value_heads": 8,
}
GEMMA = {
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
    "global_head_dim": 512,
    "num_global_key_value_heads": 2,
    "sliding_window": 1024,
}


def sizes(data: dict[str, Any], **served: Any) -> RankSizes:
    model = ModelConfig(Path(), "o/m", "local", data, None)
    return expected(model, dataclasses.replace(SERVED, **served))


def bundled(slug: str, **served: Any) -> RankSizes:
    model = read_model_config(BUNDLED / slug, "o/m", "bundled")
    return expected(model, dataclasses.replace(SERVED, **served))


def test_grouped_query_attention_divides_by_tp() -> None:
    (kind,) = bundled("llama-3.1-70b", tp=4).attention
    assert dataclasses.astuple(kind) == (16, 2, 128, 128, None)


def test_a_rank_holds_one_kv_head_at_least() -> None:
    (kind,) = bundled("qwen3-next-80b-a3b", tp=8).attention
    assert (kind.qo_heads, kind.kv_heads, kind.head_dim) == (2, 1, 256)


@pytest.mark.parametrize(("dp", "heads"), [(1, 8), (4, 32), (8, 64)])
def test_latent_attention_divides_by_attn_tp(dp: int, heads: int) -> None:
    latent = bundled("kimi-k2", dp=dp, enable_dp_attention=True).latent
    assert latent is not None
    assert (latent.heads, latent.ckv, latent.kpe, latent.qk, latent.vo) == (
        heads,
        512,
        64,
        192,
        128,
    )


def test_dp_without_dp_attention_divides_nothing() -> None:
    latent = bundled("kimi-k2", dp=4).latent
    assert latent is not None and latent.heads == 8


@pytest.mark.parametrize(("ep", "local", "width"), [(1, 384, 256), (4, 96, 1024), (8, 48, 2048)])
def test_experts_divide_by_ep_and_their_width_by_the_rest(ep: int, local: int, width: int) -> None:
    experts = bundled("kimi-k2", ep=ep).experts
    assert experts is not None
    assert (experts.experts, experts.local_experts, experts.intermediate) == (384, local, width)
    assert (experts.top_k, experts.groups, experts.topk_groups) == (8, 1, 1)


def test_a_token_exchange_makes_experts_whole() -> None:
    experts = bundled("kimi-k2", arguments={"moe_a2a_backend": "deepep"}).experts
    assert experts is not None
    assert (experts.local_experts, experts.intermediate) == (48, 2048)


def test_redundant_experts_are_held_too() -> None:
    experts = bundled("deepseek-v3", ep=8, arguments={"ep_num_redundant_experts": 32}).experts
    assert experts is not None and experts.local_experts == 36


def test_gated_delta_nets_divide_by_attn_tp() -> None:
    linear = bundled("qwen3-next-80b-a3b", tp=2).linear
    assert linear is not None and dataclasses.astuple(linear) == (8, 16, 128, 128)


def test_mamba_groups_are_repeated_rather_than_split() -> None:
    assert sizes(HYBRID).mamba == sizes({**HYBRID, "n_groups": 1}).mamba
    mamba = sizes(HYBRID, tp=2).mamba
    assert mamba is not None and dataclasses.astuple(mamba) == (32, 64, 128, 4)


def test_sliding_layers_have_sizes_of_their_own() -> None:
    kinds = [dataclasses.astuple(kind) for kind in sizes(SLIDING, tp=4).attention]
    assert kinds == [(16, 1, 192, 128, None), (16, 2, 192, 128, 128)]
    kinds = [dataclasses.astuple(kind) for kind in sizes(GEMMA, tp=2).attention]
    assert kinds == [(8, 1, 512, 512, None), (8, 4, 256, 256, 1024)]


def test_the_plain_width_is_the_experts_where_no_other_is_named() -> None:
    mixtral = {"hidden_size": 6144, "intermediate_size": 16384, "num_local_experts": 8}
    found = sizes(mixtral)
    assert found.intermediate == ()
    assert found.experts is not None and found.experts.intermediate == 2048


def test_the_vocabulary_is_padded_only_where_it_is_split() -> None:
    found = sizes({"vocab_size": 1000}, tp=2)
    assert (found.vocab, found.vocab_per_rank) == (1000, 512)
    assert found.roles()["vocab"] == {1000}


def test_roles_hold_every_size_that_a_layer_may_have() -> None:
    roles = bundled("kimi-k2", ep=4, quantization="fp8").roles()
    assert roles["norm"] == {7168, 1536, 512}
    assert roles["local_experts"] == {96, 97} and roles["experts"] == {384, 385}
    assert roles["moe_intermediate"] == {1024}
    assert "gdn_k_heads" not in roles and "mamba_heads" not in roles


def test_quantized_experts_may_be_padded() -> None:
    moe = {"hidden_size": 2880, "moe_intermediate_size": 2880, "num_local_experts": 128}
    assert sizes(moe, tp=1, quantization="mxfp4").roles()["moe_hidden"] == {2880, 2944, 3072}
    assert sizes(moe, tp=1).roles()["moe_hidden"] == {2880}


KEYS = [*HYBRID, *SLIDING, *GEMMA, "kv_lora_rank", "num_local_experts", "layer_types", "vocab_size"]
VALUES = st.none() | st.integers(-1, 300) | st.text(max_size=3) | st.booleans() | st.just(["x"])


@given(st.dictionaries(st.sampled_from(KEYS), VALUES), st.sampled_from([1, 2, 8]))
def test_no_config_breaks_it(data: dict[str, Any], tp: int) -> None:
    roles = sizes(data, tp=tp, ep=tp).roles()
    assert all(size > 0 for found in roles.values() for size in found)
