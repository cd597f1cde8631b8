"""An equivalent becomes a definition, or stands in the report with the reason."""

from __future__ import annotations

import dataclasses

import pytest
from kerneldefs.capture.observe import ops
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.normalise import unite
from kerneldefs.derive.define import define
from kerneldefs.derive.derive import derive
from kerneldefs.derive.equivalent import VARIANTS, Options, fact
from kerneldefs.derive.registry import equivalents, families
from kerneldefs.serving.expected import expected
from kerneldefs.serving.modelconfig import read_model_config

from .calls import BF16, EMPTY, attention, experts, linear, seen
from .make import MODELS, config


def test_what_a_family_cannot_make_stands_in_the_report() -> None:
    calls = [
        experts("custom: f"),
        attention("decode", sinks=True, soft_cap=30.0),
        linear(quantization="other: AWQ"),
    ]
    result = derive(config("llama-3.1-8b"), calls, EMPTY, Options())
    assert {item.cause for item in result.quarantined} == {
        "moe-routing",
        "attention-sinks",
        "gemm-format",
    }


def test_marked_calls_and_other_names_are_quarantined() -> None:
    call = linear()
    ((_, equivalent),) = equivalents(call, Options())
    doubted = KernelCall(**{**vars(call), "marks": ("after a guessed value",)})
    with pytest.raises(Quarantine, match="guessed"):
        define(equivalent, doubted, EMPTY, config("llama-3.1-8b"))
    other = type(equivalent)(**{**vars(equivalent), "name": "gemm_n1_k1"})
    with pytest.raises(Quarantine, match="expects gemm_n1_k1"):
        define(other, call, EMPTY, config("llama-3.1-8b"))


def test_sizes_are_held_against_the_observed_call_and_the_model() -> None:
    call = attention("decode", num_qo_heads=32, num_kv_heads=8, head_dim_qk=128, head_dim_vo=128)
    name = "gqa_paged_decode_h32_kv8_d128_ps4"
    options = Options(page_sizes=(4,))
    own = next(e for _, e in equivalents(call, options) if e.name == name)
    plain = config("llama-3.1-8b")
    model = read_model_config(MODELS / "llama-3.1-8b", plain.repo_id, plain.revision)
    define(own, call, EMPTY, plain, expected(model, plain))
    other = dataclasses.replace(call, scalars={**call.scalars, "num_kv_heads": 4})
    with pytest.raises(Quarantine, match=r"num_kv_heads is 8; the call shows 4 .*predict 8"):
        define(own, other, EMPTY, plain, expected(model, plain))
    halved = expected(model, dataclasses.replace(plain, tp=2))
    with pytest.raises(Quarantine, match=r"num_qo_heads is 32; the call shows 32 .*predict 16"):
        define(own, call, EMPTY, plain, halved)


def test_sizes_that_no_tensor_shows_are_seen_in_the_observed_call() -> None:
    result = derive(
        config("llama-3.1-8b"), [experts("ds", n_group=2, topk_group=1)], EMPTY, Options()
    )
    assert [c.name for c in result.candidates] == ["moe_bf16_ds_routing_topk2_ng2_kg1_e2_h8_i6"]


def test_what_ran_is_no_variant_whatever_else_leads_to_it() -> None:
    """o_proj has the shape of the q shard of a fused layer."""
    fused = linear(shards="48,16,16")
    result = derive(config("llama-3.1-8b"), [fused], EMPTY, Options(VARIANTS))
    tags = {c.name: set(c.definition["tags"]) for c in result.candidates}
    assert "variant:unfused" not in tags["gemm_n48_k64"]
    assert "variant:unfused" in tags["gemm_n16_k64"]
    assert result.index["definitions"]["gemm_n48_k64"]["variant"] == ""


def test_every_family_reads_an_op_that_hooks_write() -> None:
    constants = (value for name, value in vars(ops).items() if name.isupper())
    written = {value for value in constants if isinstance(value, str)}
    assert all(set(family.ops) <= written for family in families())
    assert len({family.name for family in families()}) == len(families())


def test_definitions_of_one_name_keep_their_own_facts() -> None:
    """Names that a dtype tells apart change on the way, and what is said of each goes along."""
    calls = [
        seen(ops.KV_APPEND, dict.fromkeys(("cache_k", "cache_v"), fact(dtype, 16, 2, 8)))
        for dtype in (BF16, "float8_e4m3fn")
    ]
    rows = derive(config("llama-3.1-8b"), calls, EMPTY, Options()).index["definitions"]
    assert {name: row["variant"] for name, row in rows.items()} == {
        "append_paged_kv_cache_kv2_d8_ps1": "",
        "append_paged_kv_cache_kv2_d8_ps1_fp8": "",
        "append_paged_kv_cache_kv2_d8_ps64": "page_size",
        "append_paged_kv_cache_kv2_d8_ps64_fp8": "page_size",
    }


def test_what_one_family_cannot_make_another_still_does() -> None:
    rows = derive(
        config("llama-3.1-8b"), [attention("decode", sinks=True, soft_cap=30.0)], EMPTY, Options()
    )
    assert "append_paged_kv_cache_kv2_d8_ps1" in {c.name for c in rows.candidates}
    assert [item.cause for item in rows.quarantined] == ["attention-sinks"]


def test_a_kernel_that_two_apis_reach_is_one_definition_with_both_tags() -> None:
    call = linear()
    ((_, equivalent),) = equivalents(call, Options())
    other = dataclasses.replace(equivalent, api="flashinfer.gemm.another")
    serving = config("llama-3.1-8b")
    both = [define(e, call, EMPTY, serving) for e in (equivalent, other)]
    (candidate,), lost = unite(both)
    apis = {tag for tag in candidate.definition["tags"] if tag.startswith("fi_api:")}
    assert apis == {"fi_api:flashinfer.gemm.mm_bf16", "fi_api:flashinfer.gemm.another"}
    assert lost == []


def test_what_is_both_derived_and_predicted_was_not_captured() -> None:
    call = linear()
    ((_, equivalent),) = equivalents(call, Options())
    calls = (call, dataclasses.replace(call, origin="predicted"))
    both = [define(equivalent, c, EMPTY, config("llama-3.1-8b")) for c in calls]
    (candidate,), _ = unite(both)
    origins = [tag for tag in candidate.definition["tags"] if tag.startswith("origin:")]
    assert origins == ["origin:derived"]
