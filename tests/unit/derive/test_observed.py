"""What captures of real configs observed, against what config.json predicts of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pytest
from kerneldefs.capture.observe import ops
from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.derive import derive
from kerneldefs.derive.equivalent import Options
from kerneldefs.derive.predict.inventory import inventory, predicted_calls
from kerneldefs.serving.expected import expected

from .calls import EMPTY
from .observed import FOLDER, load

FILES = sorted(FOLDER.glob("*.json"))
# Model -> what its captures must lead to, by published sizes; our templates make it of them.
KNOWN = {
    "deepseek-v3.2": {
        "dsa_sparse_attention_h16_ckv512_kpe64_topk2048_ps64",
        "dsa_topk_indexer_fp8_h64_d128_topk2048_ps64",
        "gemm_n64_k7168_bf16_bf16_fp32",  # the indexer's weights
        "gemm_n256_k7168_bf16_bf16_fp32",
    },
    # whose backend asks no indexer, so that every key is attended to
    "deepseek-v3.2-flashinfer": {
        "mla_paged_decode_h16_ckv512_kpe64_ps64",
        "mla_paged_prefill_causal_h16_ckv512_kpe64_ps64",
    },
    # whose indexer has both products of hidden states in one
    "glm-5-nvfp4": {"gemm_n160_k6144", "dsa_sparse_attention_h8_ckv512_kpe64_topk2048_ps64"},
    # whose dense layer and shared experts keep their weights, and so does attention
    "kimi-k2.7-code-nvfp4": {"gemm_n4608_k7168", "gemm_n512_k7168", "gemm_n7168_k256"},
    "kimi-linear-48b-a3b-instruct": {"kda_decode_qk8_v8_d128", "kda_prefill_qk8_v8_d128"},
    "gpt-oss-120b": {
        "gemm_n128_k2880_bias",
        "append_paged_kv_cache_kv8_d64_ps1",
        *(f"gqa_paged_{s}_sinks_h64_kv8_d64_ps64_win127" for s in ("decode", "prefill")),
        "moe_mxfp8_mxfp4_block_scale_biased_clamped_renormalize_routing_topk4_e128_h3072_i2944",
    },
    "minimax-m3-nvfp4": {
        "moe_nvfp4_block_scale_clamped_sigmoid_renorm_routing_topk4_e16_h6144_i3072",
    },
}
# And what FlashInfer's templates make of them.
FROM_TEMPLATES = {
    "deepseek-v3.2": {"layernorm_h128"},
    "deepseek-v3.1-nvfp4": {
        "gemm_fp4_N4608_K7168",
        "gemm_fp4_N7168_K256",  # whose input comes packed
        "fp4_quantize_k7168",
        "moe_fp4_block_scale_ds_routing_topk8_e32_h7168_i2048_act3_ng8_kg4",
    },
    "minimax-m3-nvfp4": {"gemm_mxfp8_N1280_K6144", "mxfp8_quantize_k6144"},
}


# Model -> causes of what no definition can be made of, and words of the reason.
LOST = {
    "deepseek-v3.1-nvfp4": {"gated-product": "product, SiLU and quantization to NVFP4"},
    "minimax-m3-nvfp4": {"attention-blocks": "attention over chosen blocks of the cache"},
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_observed_is_what_is_predicted(path: Path) -> None:
    observed = load(path)
    told = predicted_calls(observed.model, observed.config)
    seen, predicted = (
        {row.name for row in inventory(calls, Options()) if not row.reason}
        for calls in (observed.calls, told)
    )
    known = KNOWN.get(path.stem, set()) | FROM_TEMPLATES.get(path.stem, set())
    assert known and known <= seen
    assert predicted == seen


@pytest.mark.parametrize("model", KNOWN)
def test_observed_calls_become_definitions(model: str) -> None:
    observed = load(FOLDER / f"{model}.json")
    sizes = expected(observed.model, observed.config)
    result = derive(observed.config, observed.calls, EMPTY, Options(), predicted=sizes)
    assert KNOWN[model] <= {candidate.name for candidate in result.candidates}
    assert {item.cause for item in result.quarantined} <= {"no-template", *LOST.get(model, {})}


@pytest.mark.parametrize("model", LOST)
def test_what_has_no_equivalent_is_told_of_both(model: str) -> None:
    observed = load(FOLDER / f"{model}.json")
    for calls in (observed.calls, predicted_calls(observed.model, observed.config)):
        reasons = {row.name: row.reason for row in inventory(calls, Options()) if row.reason}
        for cause, said in LOST[model].items():
            assert said in reasons[cause]


def test_layers_that_choose_blocks_attend_to_no_whole_cache() -> None:
    """MiniMax-M3's first three layers attend to every key, and the others to chosen blocks."""
    observed = load(FOLDER / "minimax-m3-nvfp4.json")
    choosing = {**observed.model.data, "text_config": {**observed.model.data["text_config"]}}
    sparse = choosing["text_config"]["sparse_attention_config"]
    choosing["text_config"]["sparse_attention_config"] = {**sparse, "sparse_attention_freq": [1]}
    model = dataclasses.replace(observed.model, data=choosing)
    some = [call for call in observed.calls if call.op == ops.ATTENTION]
    none = [call for call in some if "idx_q" in call.tensors]
    told = list(predicted_calls(model, observed.config))
    assert "gqa_paged" in _op_types(some)
    assert 0 < len(none) < len(some)
    assert _op_types(none) == {"page_append"}  # keys are written all the same
    assert "gqa_paged" not in _op_types(told)


def _op_types(calls: Iterable[KernelCall]) -> set[str]:
    return {row.op_type for row in inventory(calls, Options()) if not row.reason}
