"""Names, tags, constraints and numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.capture.record import Axis, Template
from kerneldefs.definition.constraints import names_in
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.naming import contradictions, definition_name
from kerneldefs.definition.tags import (
    VOCABULARY,
    attention_tp,
    config_tags,
    public_api,
    upstream_tags,
)
from kerneldefs.definition.variants import epsilon_suffix, number
from kerneldefs.serving.config import ServingConfig

CONFIG = ServingConfig.from_json(
    {
        "id": "b200-tp8-dp4-fp8-auto",
        "model": "kimi-k2-instruct",
        "repo_id": "moonshotai/Kimi-K2-Instruct",
        "revision": "bundled",
        "model_config_sha256": "0" * 64,
        "arch": "sm_100",
        "hardware": "B200",
        "gpus_per_node": 8,
        "tp": 8,
        "dp": 4,
        "ep": 2,
        "enable_dp_attention": True,
        "quantization": "fp8",
        "kv_cache_dtype": "auto",
        "page_size": None,
        "attention_backend": None,
        "moe_runner_backend": None,
        "trust_remote_code": False,
        "arguments": {},
        "sources": [],
        "notes": [],
    }
)


def template(axes: dict[str, Axis]) -> Template:
    return Template("api", "op", "prefix", "", axes, {}, {}, (), True)


def test_names_follow_flashinfers_rule() -> None:
    axes = {
        "tokens": Axis(False, None, None),
        "heads": Axis(True, "h", None),
        "hidden": Axis(True, "", None),
        "K": Axis(True, None, None),
    }
    name = definition_name(template(axes), {"K": 5, "heads": 8, "hidden": 9}, ["win4", "hnd"])
    assert name == "prefix_h8_K5_win4_hnd"


def test_a_name_that_would_leave_out_a_size_is_a_quarantine() -> None:
    with pytest.raises(Quarantine, match="axis-value"):
        definition_name(template({"heads": Axis(True, "h", None)}), {})


@pytest.mark.parametrize(
    ("name", "sizes", "wrong"),
    [
        ("rmsnorm_h7168", {"hidden_size": 7168}, False),
        ("rmsnorm_h7168_eps1e-5", {"hidden_size": 7168}, False),
        ("rmsnorm_h716", {"hidden_size": 7168}, True),
        ("rmsnorm_h71680", {"hidden_size": 7168}, True),
        ("rmsnorm_quant_h7", {"hidden_size": 9}, True),
        ("rmsnorm_quant_h7", {"hidden_size": 7}, False),
        ("fmha_v2_prefill_fp8_h4", {"num_heads": 4}, False),
        ("gqa_ragged_h32_kv8_d128", {"num_qo_heads": 32, "num_kv_heads": 8, "head_dim": 64}, True),
        ("somebody_elses_h3", {"hidden_size": 4}, True),
    ],
)
def test_names_must_say_the_sizes(name: str, sizes: dict[str, int], wrong: bool) -> None:
    axes = {axis: {"type": "const", "value": value} for axis, value in sizes.items()}
    assert bool(contradictions(name, axes)) == wrong


@pytest.mark.parametrize(
    ("value", "text"), [(50.0, "50"), (0.5, "0.5"), (1e-5, "1e-5"), (1e-06, "1e-6"), (3e-7, "3e-7")]
)
def test_numbers_in_names_are_short(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(1e-12, 1e6))
def test_numbers_in_names_are_safe_in_file_names(value: float) -> None:
    assert set(number(value)) <= set("0123456789.e-")


def test_an_epsilon_other_than_the_templates_is_a_suffix() -> None:
    assert epsilon_suffix("def run(x):\n    EPS = 1e-6\n") is None
    assert epsilon_suffix("def run(x):\n    return x\n") is None
    assert epsilon_suffix("def run(x):\n    EPS = 1e-05\n") == "eps1e-5"
    for text in ("EPS = 0.0", "EPS = 1e-5\nEPS = 1e-6", "EPS = 'x'"):
        with pytest.raises(Quarantine, match="reference-epsilon"):
            epsilon_suffix(text)


def test_api_tags_are_public_and_nothing_is_verified_yet() -> None:
    assert upstream_tags(
        ["fi_api:flashinfer.mla._core.X.run", "status:verified", "stage:decode", "model:gemma", ""]
    ) == ["fi_api:flashinfer.mla.X.run", "stage:decode", "status:unverified"]
    assert public_api("flashinfer.norm.rmsnorm") == "flashinfer.norm.rmsnorm"
    assert public_api("flashinfer.fused_moe.core.f") == "flashinfer.fused_moe.f"


@pytest.mark.parametrize(
    ("axes", "split"),
    [
        (["hidden_size"], set()),
        (["vocab_size"], set()),
        (["num_qo_heads", "head_dim"], {"tp:2"}),
        (["num_local_experts", "intermediate_size"], {"tp:8", "ep:2"}),
    ],
)
def test_tp_and_ep_are_tagged_where_sizes_depend_on_them(axes: list[str], split: set[str]) -> None:
    assert config_tags(axes, CONFIG) == {"model:kimi-k2-instruct", "quantization:fp8"} | split


def test_attention_is_split_over_tp_unless_replicas_share_it() -> None:
    import dataclasses

    assert attention_tp(CONFIG) == 2
    assert attention_tp(dataclasses.replace(CONFIG, enable_dp_attention=False)) == 8


def test_unquantized_weights_are_tagged_as_such() -> None:
    import dataclasses

    plain = dataclasses.replace(CONFIG, quantization="none")
    assert config_tags([], plain) == {"model:kimi-k2-instruct", "quantization:none"}


@pytest.mark.parametrize(
    "tag", ["tp:0", "tp:x", "fi_api:os.system", "model:A B", "status:done", ""]
)
def test_words_outside_the_vocabulary(tag: str) -> None:
    assert VOCABULARY.fullmatch(tag) is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("len_indptr == batch_size + 1", {"len_indptr", "batch_size"}),
        ("total_q == qo_indptr[-1].item()", {"total_q", "qo_indptr"}),
        ("max(a, b) < 3", {"a", "b"}),
        ("a =", None),
        ("import os", None),
        ("", None),
    ],
)
def test_names_of_constraints(text: str, names: set[str] | None) -> None:
    assert names_in(text) == names


@given(st.text(max_size=40))
def test_no_text_breaks_a_constraint(text: str) -> None:
    names_in(text)
