"""Attention: sizes from plan(), cache layouts, masks, and the two kinds of MLA prefill."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kerneldefs.capture.record import TensorFact
from kerneldefs.definition.checks import Subject, errors, run_checks
from kerneldefs.definition.draft import Quarantine

from .calls import BF16, I32, fact
from .conftest import Dump
from .test_repair import NAMES

Dumps = Callable[[str], Dump]


def test_sizes_come_from_plan_and_tensors_whatever_the_dump_says(dumps: Dumps) -> None:
    axes = dumps("paged decode").repaired().definition["axes"]
    assert {k: a["value"] for k, a in axes.items() if a["type"] == "const"} == {
        "num_qo_heads": 32,
        "num_kv_heads": 8,
        "head_dim": 128,
        "page_size": 1,
    }


def test_index_arrays_have_the_dtype_that_plan_was_given(dumps: Dumps) -> None:
    dump = dumps("paged decode")
    inputs = dump.repaired().definition["inputs"]
    assert (inputs["kv_indptr"]["dtype"], inputs["kv_indices"]["dtype"]) == (I32, I32)
    plan = {**(dump.call.plan or {}), "indices": dataclasses.asdict(fact("int64", 132))}
    renewed = dump.repaired(plan=plan).definition["inputs"]
    assert renewed["kv_indices"]["dtype"] == "int64"


def test_a_wrapper_call_without_plan_facts_is_quarantined(dumps: Dumps) -> None:
    for name in ("paged decode", "ragged prefill", "MLA decode", "paged prefill on a prefix"):
        with pytest.raises(Quarantine, match="no-plan"):
            dumps(name).repaired(plan=None)


def test_page_sizes_above_one_are_quarantined_for_the_missing_page_tail(dumps: Dumps) -> None:
    dump = dumps("paged decode")
    with pytest.raises(Quarantine, match="page-tail"):
        dump.repaired(plan={**(dump.call.plan or {}), "page_size": 16})


def test_plan_and_tensors_must_agree(dumps: Dumps) -> None:
    dump = dumps("paged decode")
    with pytest.raises(Quarantine, match="plan-mismatch"):
        dump.repaired(plan={**(dump.call.plan or {}), "num_qo_heads": 16})
    with pytest.raises(Quarantine, match="kv-layout"):
        dump.repaired(plan={**(dump.call.plan or {}), "num_kv_heads": 3})


def test_a_cache_that_fits_both_layouts_needs_a_word_on_the_layout(dumps: Dumps) -> None:
    dump = dumps("paged decode")
    tensors = {**dump.call.tensors}
    for part in ("paged_kv_cache#0", "paged_kv_cache#1"):
        tensors[part] = fact(BF16, 100, 1, 1, 128)
    plan = {**(dump.call.plan or {}), "num_kv_heads": 1}
    assert dump.repaired(tensors=tensors, plan=plan).definition["name"].endswith("kv1_d128_ps1")


@pytest.mark.parametrize(
    ("name", "state", "suffix", "constant"),
    [
        ("paged decode", {"window_left": 511}, "win511", "WINDOW_LEFT = 511"),
        ("paged decode", {"logits_soft_cap": 50.0}, "cap50", "SOFT_CAP = 50.0"),
        ("ragged prefill", {"causal": False}, "noncausal", "CAUSAL = False"),
        (
            "ragged prefill",
            {"window_left": 7, "logits_soft_cap": 0.5},
            "win7_cap0.5",
            "CAUSAL = True",
        ),
    ],
)
def test_masks_are_read_at_run_and_named(
    dumps: Dumps, name: str, state: dict[str, object], suffix: str, constant: str
) -> None:
    dump = dumps(name)
    definition = dump.repaired(state={**dump.call.state, **state}).definition
    assert definition["name"] == f"{NAMES[name]}_{suffix}"
    assert constant in definition["reference"]
    assert errors(run_checks(Subject(definition))) == []


def test_paged_prefill_that_is_causal_keeps_flashinfers_reference(dumps: Dumps) -> None:
    dump = dumps("paged prefill on a prefix")
    definition = dump.repaired(state={**dump.call.state, "causal": True}).definition
    assert definition["name"] == "gqa_paged_prefill_h32_kv8_d128_ps1"
    assert "_gqa_paged_prefill_reference" in definition["reference"]


def test_a_mask_that_no_reference_of_ours_knows_is_quarantined(dumps: Dumps) -> None:
    dump = dumps("ragged MLA prefill")
    with pytest.raises(Quarantine, match="variant"):
        dump.repaired(state={**dump.call.state, "window_left": 3})


def test_mla_prefill_without_a_mask_is_quarantined(dumps: Dumps) -> None:
    with pytest.raises(Quarantine, match="multi-token-decode"):
        dumps("MLA prefill").repaired(state={"causal": False})


def test_the_two_ways_to_run_mla_prefill_are_one_definition(dumps: Dumps) -> None:
    one = dumps("ragged MLA prefill").repaired().definition
    other = dumps("trtllm ragged causal").repaired().definition
    assert one["tags"] != other["tags"]
    assert {**one, "tags": []} == {**other, "tags": []}


@pytest.mark.parametrize("scalars", [{"bmm2_scale": 0.5}, {"window_left": 4}, {"is_causal": None}])
def test_trtllm_ragged_calls_that_compute_something_else(
    dumps: Dumps, scalars: dict[str, object]
) -> None:
    with pytest.raises(Quarantine, match=r"argument-not-modelled|no-evidence"):
        dumps("trtllm ragged causal").with_scalars(**scalars)


def test_nhd_caches_of_trtllm_are_another_name_and_tell_the_reference(dumps: Dumps) -> None:
    dump = dumps("trtllm decode")
    cache = fact(BF16, 1025, 64, 8, 128)
    tensors = {**dump.call.tensors, "kv_cache#0": cache, "kv_cache#1": cache}
    scalars = {**dump.call.scalars, "kv_layout": "NHD"}
    definition = dump.repaired(tensors=tensors, scalars=scalars).definition
    assert definition["name"] == "trtllm_batch_decode_h32_kv8_d128_ps64_nhd"
    assert "kv_layout='NHD'" in definition["reference"]
    assert definition["inputs"]["kv_cache"]["shape"][2:4] == ["page_size", "num_kv_heads"]


def test_several_queries_per_request_in_a_decode_are_quarantined(dumps: Dumps) -> None:
    dump = dumps("trtllm decode")
    with pytest.raises(Quarantine, match="multi-token-decode"):
        dump.repaired(tensors={**dump.call.tensors, "query": fact(BF16, 8, 32, 128)})


def test_hnd_caches_are_permuted_for_references_of_either_kind(dumps: Dumps) -> None:
    theirs = dumps("paged decode HND").repaired().definition["reference"]
    assert "k_cache.permute(0, 2, 1, 3)" in theirs
    dump = dumps("paged decode HND")
    ours = dump.repaired(state={**dump.call.state, "window_left": 9}).definition
    assert ours["name"].endswith("_win9_hnd")
    assert "k_cache.permute(0, 2, 1, 3)" in ours["reference"]
    assert errors(run_checks(Subject(ours))) == []


def test_a_batch_size_scalar_is_bound_to_the_shape(dumps: Dumps) -> None:
    reference = dumps("trtllm context").repaired().definition["reference"]
    assert "batch_size=block_tables.shape[0]" in reference


@given(
    heads=st.sampled_from([1, 2, 8, 32, 128]),
    group=st.sampled_from([1, 2, 4, 8]),
    dim=st.sampled_from([64, 128, 256]),
    pages=st.integers(1, 10_000),
)
@settings(max_examples=40)
def test_any_planned_size_is_found_again(
    dumps: Dumps, heads: int, group: int, dim: int, pages: int
) -> None:
    dump = dumps("paged decode")
    kv = max(1, heads // group)
    cache = fact(BF16, pages, kv, dim)
    tensors = {"q": fact(BF16, 4, heads, dim), "paged_kv_cache#0": cache, "paged_kv_cache#1": cache}
    plan = {
        **(dump.call.plan or {}),
        "num_qo_heads": heads,
        "num_kv_heads": kv,
        "head_dim": dim,
    }
    outputs: tuple[TensorFact, ...] = (fact(BF16, 4, heads, dim),)
    definition = dump.repaired(tensors=tensors, plan=plan, outputs=outputs).definition
    assert definition["name"] == f"gqa_paged_decode_h{heads}_kv{kv}_d{dim}_ps1"
    assert errors(run_checks(Subject(definition))) == []


def test_caches_and_head_dims_that_plan_contradicts_are_quarantined(dumps: Dumps) -> None:
    paged, mla = dumps("paged decode"), dumps("MLA decode")
    with pytest.raises(Quarantine, match="head-dims"):
        paged.repaired(plan={**(paged.call.plan or {}), "head_dim_vo": 64})
    with pytest.raises(Quarantine, match="plan-mismatch: ckv_cache"):
        mla.repaired(plan={**(mla.call.plan or {}), "head_dim_ckv": 256})
    with pytest.raises(Quarantine, match="page-tail"):
        mla.repaired(plan={**(mla.call.plan or {}), "page_size": 64})


def test_grouped_queries_with_two_head_dims_have_no_name_yet(dumps: Dumps) -> None:
    dump = dumps("ragged MLA prefill")
    tensors = {**dump.call.tensors, "k": fact(BF16, 128, 4, 192), "v": fact(BF16, 128, 4, 128)}
    with pytest.raises(Quarantine, match=r"head-dims: .*grouped queries"):
        dump.repaired(tensors=tensors, plan={**(dump.call.plan or {}), "num_kv_heads": 4})
