"""Signatures: one kernel under many names, and kernels that only a word or a number tells apart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.definition.draft import Draft
from kerneldefs.definition.signature import function_words, signature

from .conftest import Dump

Dumps = Callable[[str], Dump]
BF16 = "bfloat16"
RUN = "def run(x):\n    return x\n"


def definition(
    name: str,
    axes: dict[str, int | None],
    reference: str = RUN,
    **more: Any,
) -> Draft:
    """Return a definition over all its axes, None standing for a var axis."""
    spec = {"shape": list(axes), "dtype": BF16}
    return {
        "name": name,
        "op_type": "t",
        "tags": [],
        "axes": {
            axis: {"type": "var"} if size is None else {"type": "const", "value": size}
            for axis, size in axes.items()
        },
        "constraints": [],
        "inputs": {"x": spec},
        "outputs": {"y": spec},
        "reference": reference,
        **more,
    }


def norm(name: str, eps: float) -> Draft:
    return definition(
        name, {"n": None, "hidden_size": 64}, f"EPS = {eps}\ndef run(x):\n    return x\n"
    )


GQA = {"n": None, "num_qo_heads": 32, "num_kv_heads": 8, "head_dim": 128}
MOE = {"n": None, "num_experts": 384, "num_local_experts": 96, "top_k": 8, "hidden_size": 7168}

APART = {
    "activation": (
        definition("silu_and_mul_h64", {"n": None, "hidden_size": 64}),
        definition("gelu_and_mul_h64", {"n": None, "hidden_size": 64}),
    ),
    "gelu's approximation": (
        definition("gelu_and_mul_h64", {"n": None, "hidden_size": 64}),
        definition("gelu_tanh_and_mul_h64", {"n": None, "hidden_size": 64}),
    ),
    "gemma's weight": (norm("rmsnorm_h64", 1e-6), norm("gemma_rmsnorm_h64", 1e-6)),
    "the residual": (norm("rmsnorm_h64", 1e-6), norm("fused_add_rmsnorm_h64", 1e-6)),
    "epsilon": (norm("rmsnorm_h64", 1e-6), norm("rmsnorm_h64", 1e-5)),
    "the mask": (
        definition("gqa_ragged_h32_kv8_d128", GQA),
        definition("gqa_ragged_h32_kv8_d128_noncausal", GQA),
    ),
    "the stage": (
        definition("gqa_paged_decode_h32_kv8_d128_ps1", GQA),
        definition("gqa_paged_prefill_h32_kv8_d128_ps1", GQA),
    ),
    "the window": (
        definition("gqa_ragged_h32_kv8_d128_win127", GQA),
        definition("gqa_ragged_h32_kv8_d128_win128", GQA),
    ),
    "the soft cap": (
        definition("gqa_ragged_h32_kv8_d128_cap30", GQA),
        definition("gqa_ragged_h32_kv8_d128_cap50", GQA),
    ),
    "the routing": (
        definition("moe_fp8_block_scale_ds_routing_topk8_e96_h7168", MOE),
        definition("moe_fp8_block_scale_renormalize_routing_topk8_e96_h7168", MOE),
    ),
    "the experts' factor": (
        definition("moe_bf16_ds_routing_topk8_e96_h7168", MOE, "SCALING = 2.5\n" + RUN),
        definition("moe_bf16_ds_routing_topk8_e96_h7168", MOE, "SCALING = 1.0\n" + RUN),
    ),
    "the experts' activation": (
        definition("moe_bf16_ds_routing_topk8_e96_h7168", MOE, "ACTIVATION = 'relu2'\n" + RUN),
        definition("moe_bf16_ds_routing_topk8_e96_h7168", MOE),
    ),
    "the rotary pairs": (
        definition("rope_with_cos_sin_cache_neox_style_d128_rd64", {"d": 128, "r": 64}),
        definition("rope_with_cos_sin_cache_gptj_style_d128_rd64", {"d": 128, "r": 64}),
    ),
    "the number format": (
        definition("moe_fp8_block_scale_e8", {"num_experts": 8}),
        definition("moe_mxfp8_block_scale_e8", {"num_experts": 8}),
    ),
    "the dtype": (
        definition("gemm_n64_k32", {"M": None, "K": 32, "N": 64}),
        definition(
            "gemm_n64_k32",
            {"M": None, "K": 32, "N": 64},
            outputs={"y": {"shape": ["M"], "dtype": "float16"}},
        ),
    ),
    "which size is whose": (
        definition("gqa_ragged_h32_kv8_d128", GQA),
        definition("gqa_ragged_h8_kv32_d128", {**GQA, "num_qo_heads": 8, "num_kv_heads": 32}),
    ),
}


@pytest.mark.parametrize("pair", APART.values(), ids=APART)
def test_kernels_that_differ_in_meaning_stay_apart(pair: tuple[Draft, Draft]) -> None:
    assert signature(pair[0]) != signature(pair[1])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("gqa_ragged_h32_kv8_d128", "gqa_ragged_prefill_causal_h32_kv8_d128"),
        ("gqa_paged_prefill_h32_kv8_d128_ps8", "gqa_paged_prefill_causal_h32_kv8_d128_ps8"),
        ("top_k_top_p_sampling_v32", "top_k_top_p_sampling_from_probs_v32"),
        ("gemm_bf16_N32_K8", "gemm_n32_k8"),
        ("gdn_decode_qk32_v8_d128", "gdn_decode_qk32_v8_d128_k_last"),
    ],
)
def test_the_datasets_words_for_a_kernel_are_known(ours: str, theirs: str) -> None:
    assert signature(definition(ours, GQA)) == signature(definition(theirs, GQA))


def test_axes_and_tensors_may_have_any_name() -> None:
    one = definition("trtllm_batch_decode_h32_kv8_d128", GQA)
    renamed = {"total": None, "num_heads": 32, "num_heads_kv": 8, "head_dim": 128}
    other = definition("trtllm_batch_decode_h32_kv8_d128", renamed)
    other["inputs"] = {"query": other["inputs"].pop("x")}
    other["tags"], other["description"] = ["status:verified"], "Another one."
    assert signature(one) == signature(other)


def test_a_norm_that_says_its_epsilon_is_the_one_that_does_not() -> None:
    assert signature(norm("rmsnorm_h64_eps1e-5", 1e-5)) == signature(norm("rmsnorm_h64", 1e-5))


def test_axes_that_follow_from_others_need_not_be_declared() -> None:
    more = definition("moe_x_e96", MOE)
    more["axes"]["num_hidden_blocks"] = {"type": "const", "value": 56}
    assert signature(more) == signature(definition("moe_x_e96", MOE))


@given(
    st.lists(st.sampled_from(["h", "kv", "d", "ps", "topk", "N"]), unique=True, min_size=1),
    st.lists(st.integers(1, 512), min_size=6, max_size=6, unique=True),
    st.sampled_from(["gqa_paged", "moe_fp8_block_scale", "xqa"]),
)
def test_sizes_are_no_words(parts: list[str], sizes: list[int], prefix: str) -> None:
    words = [f"{part}{size}" for part, size in zip(parts, sizes, strict=False)]
    assert function_words("_".join([prefix, *words]), set(sizes)) == prefix
    assert function_words("_".join([prefix, *words]), set()) != prefix


def test_captured_definitions_have_signatures_of_their_own(dumps: Dumps) -> None:
    names = ("rmsnorm", "rmsnorm eps 1e-5", "paged decode", "MLA decode", "MLA prefill", "min-p")
    found = [dumps(name).repaired().definition for name in names]
    assert len({signature(item) for item in found}) == len(found)
    twice = copy.deepcopy(found[2])
    twice["outputs"] = {f"{name}_": spec for name, spec in twice["outputs"].items()}
    assert signature(twice) == signature(found[2])
