"""The calls of real models, from FlashInfer's dump to clean definitions."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kerneldefs.capture.record import TensorFact
from kerneldefs.definition.checks import Subject, errors, run_checks
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.own import retarget
from kerneldefs.definition.repair import evidence_of, in_dumped_order, repair
from kerneldefs.definition.repairs import REPAIRS

from .cases import BF16, CASES, FP8, I32, fact
from .conftest import Dump

Dumps = Callable[[str], Dump]

NAMES = {
    "rmsnorm": "rmsnorm_h7168",
    "rmsnorm eps 1e-5": "rmsnorm_h4096_eps1e-5",
    "fused add rmsnorm": "fused_add_rmsnorm_h7168",
    "paged decode": "gqa_paged_decode_h32_kv8_d128_ps1",
    "paged decode HND": "gqa_paged_decode_h32_kv8_d128_ps1_hnd",
    "paged decode 5-D": "gqa_paged_decode_h32_kv8_d128_ps1",
    "paged prefill on a prefix": "gqa_paged_prefill_h32_kv8_d128_ps1_noncausal",
    "ragged prefill": "gqa_ragged_h32_kv8_d128",
    "ragged MLA prefill": "mla_ragged_prefill_causal_h8_qk192_vo128",
    "MLA decode": "mla_paged_decode_h8_ckv512_kpe64_ps1",
    "MLA prefill": "mla_paged_prefill_causal_h8_ckv512_kpe64_ps1",
    "trtllm ragged causal": "mla_ragged_prefill_causal_h8_qk192_vo128",
    "trtllm ragged non-causal": "mla_ragged_prefill_noncausal_h8_qk192_vo128",
    "trtllm decode": "trtllm_batch_decode_h32_kv8_d128_ps64",
    "trtllm context": "trtllm_batch_context_h32_kv8_d128_ps64",
    "trtllm MLA decode": "trtllm_batch_decode_mla_dense_h8_d_qk576_ckv512_kpe64_nope128_ps64",
    "moe DeepSeek routing": "moe_fp8_block_scale_ds_routing_topk8_ng1_kg1_e96_h7168_i1024",
    "moe renormalize routing": "moe_fp8_block_scale_renormalize_routing_topk8_e96_h7168_i1024",
    "merge state": "merge_state_h32_d128",
    "top-k top-p": "top_k_top_p_sampling_v163840_joint",
    "top-k renorm": "top_k_renorm_probs_v163840",
    "top-p renorm": "top_p_renorm_probs_v163840",
    "min-p": "min_p_sampling_v163840",
    "silu and mul": "silu_and_mul_h4096",
}


def test_every_case_has_an_expected_name() -> None:
    assert set(CASES) == {*NAMES, "allreduce fusion"}


@pytest.mark.parametrize("name", NAMES)
def test_a_real_call_becomes_a_clean_definition_of_the_true_sizes(dumps: Dumps, name: str) -> None:
    definition = dumps(name).repaired().definition
    assert definition["name"] == NAMES[name]
    assert errors(run_checks(Subject(definition))) == []


@pytest.mark.parametrize("name", NAMES)
def test_repairing_a_repaired_definition_changes_nothing(dumps: Dumps, name: str) -> None:
    dump = dumps(name)
    once = dump.repaired().definition
    evidence = evidence_of(dump.call, in_dumped_order(dump.template, dump.dumped))
    own = retarget(dump.dumped, evidence)
    evidence = own[1] if own else evidence
    for step in REPAIRS:
        assert step.apply(once, evidence) == once, step.id


# Repair -> the parts of a definition that it may touch.
TOUCHES = {
    "reference-replaced": {"reference"},
    "helpers": {"reference"},
    "cache-layout": {"inputs"},
    "per-row-scalar": {"inputs"},
    "const-axes": {"axes"},
    "undeclared-axes": {"axes", "inputs", "outputs"},
    "scratch-inputs": {"inputs"},
    "absent-inputs": {"inputs"},
    "axis-inputs": {"inputs"},
    "flag-inputs": {"inputs"},
    "ignored-inputs": {"inputs"},
    "input-dtypes": {"inputs"},
    "unreturned-outputs": {"outputs"},
    "output-dtypes": {"outputs"},
    "overlapping-outputs": {"outputs"},
    "epsilon": {"reference", "description"},
    "variant-description": {"description"},
    "logical-weights": {"description"},
    "run": {"reference"},
    "unused-axes": {"axes"},
    "output-axes": {"axes"},
    "constraints": {"constraints"},
    "tags": {"tags"},
    "name": {"name"},
}


@pytest.mark.parametrize("name", NAMES)
def test_each_repair_is_idempotent_and_touches_its_own_part_only(dumps: Dumps, name: str) -> None:
    dump = dumps(name)
    evidence = evidence_of(dump.call, in_dumped_order(dump.template, dump.dumped))
    draft = dump.dumped
    own = retarget(draft, evidence)
    if own is not None:
        draft, evidence, _ = own
    for step in REPAIRS:
        before = copy.deepcopy(draft)
        after = step.apply(draft, evidence)
        assert draft == before, f"{step.id} changed what it was given"
        assert step.apply(after, evidence) == after, f"{step.id} is not idempotent"
        changed = {key for key in after if after[key] != before.get(key)}
        assert step.id == "extra-keys" or changed <= TOUCHES[step.id], step.id
        draft = after


def test_repairs_do_not_change_what_they_were_given(dumps: Dumps) -> None:
    dump = dumps("paged decode")
    before = copy.deepcopy(dump.dumped)
    dump.repaired()
    assert dump.dumped == before


def test_the_order_of_axes_comes_from_the_dump_and_not_from_sorted_json(dumps: Dumps) -> None:
    dump = dumps("moe DeepSeek routing")
    shuffled = dataclasses.replace(
        dump.template,
        axes=dict(sorted(dump.template.axes.items())),
        inputs=dict(sorted(dump.template.inputs.items())),
    )
    assert repair(dump.dumped, dump.call, shuffled) == dump.repaired()


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


def test_marked_calls_are_quarantined_with_the_mark(dumps: Dumps) -> None:
    with pytest.raises(Quarantine, match=r"marked: .*output synthesised"):
        dumps("rmsnorm").repaired(marks=("output synthesised",))


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


def test_in_place_outputs_that_the_reference_does_not_return_are_dropped(dumps: Dumps) -> None:
    repaired = dumps("fused add rmsnorm").repaired()
    assert list(repaired.definition["outputs"]) == ["output"]
    assert "unreturned-outputs" in repaired.repairs


def test_epsilon_is_written_into_reference_docstring_description_and_name(dumps: Dumps) -> None:
    definition = dumps("rmsnorm").with_scalars(eps=3e-7).definition
    assert definition["name"] == "rmsnorm_h7168_eps3e-7"
    assert "EPS = 3e-07" in definition["reference"]
    assert "1e-6" not in definition["reference"] + definition["description"]
    assert "Epsilon is fixed at 3e-7" in definition["description"]


def test_an_epsilon_that_the_call_does_not_tell_is_quarantined(dumps: Dumps) -> None:
    with pytest.raises(Quarantine, match="no-evidence"):
        dumps("rmsnorm").with_scalars(eps=None)


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


def test_uint8_inputs_are_declared_int8_and_seen_as_uint8(dumps: Dumps) -> None:
    dump = dumps("rmsnorm")
    definition = dump.repaired(
        tensors={**dump.call.tensors, "weight": fact("uint8", 7168)}
    ).definition
    assert definition["inputs"]["weight"]["dtype"] == "int8"
    assert "weight.view(torch.uint8)" in definition["reference"]


def test_output_dtypes_are_those_of_the_tensors_that_came_back(dumps: Dumps) -> None:
    dump = dumps("rmsnorm")
    definition = dump.repaired(outputs=(fact("float16", 4, 7168),)).definition
    assert definition["outputs"]["output"]["dtype"] == "float16"
    assert ".to(torch.float16)" in definition["reference"]
    with pytest.raises(Quarantine, match="output-shape"):
        dump.repaired(outputs=(fact(BF16, 4, 7167),))


def test_quantized_outputs_are_never_converted(dumps: Dumps) -> None:
    dump = dumps("rmsnorm")
    reference = dump.repaired(outputs=(fact(FP8, 4, 7168),)).definition["reference"]
    assert reference.rstrip().endswith(".view(torch.float8_e4m3fn)")


def test_references_that_are_another_operator_are_quarantined(dumps: Dumps) -> None:
    with pytest.raises(Quarantine, match="reference-denied"):
        dumps("allreduce fusion").repaired()


def test_sampling_filters_known_to_be_wrong_upstream_are_ours(dumps: Dumps) -> None:
    for name in ("top-k renorm", "min-p", "top-k top-p"):
        reference = dumps(name).repaired().definition["reference"]
        assert "_reference" not in reference
    first = dumps("top-k top-p").with_scalars(filter_apply_order="top_k_first").definition
    assert first["name"] == "top_k_top_p_sampling_v163840"
    with pytest.raises(Quarantine, match="variant"):
        dumps("top-k top-p").with_scalars(filter_apply_order="reversed")


def test_a_scalar_threshold_for_all_rows_is_not_what_our_reference_takes(dumps: Dumps) -> None:
    dump = dumps("min-p")
    tensors = {k: v for k, v in dump.call.tensors.items() if k != "min_p"}
    with pytest.raises(Quarantine, match="reference-stand-in"):
        dump.repaired(tensors=tensors, scalars={**dump.call.scalars, "min_p": 0.1})


def test_per_row_values_need_one_per_row(dumps: Dumps) -> None:
    dump = dumps("top-p renorm")
    with pytest.raises(Quarantine, match="scalar-tensor"):
        dump.repaired(tensors={**dump.call.tensors, "top_p": fact("float32", 3)})


def test_helpers_are_inlined_from_the_release_that_dumped(dumps: Dumps) -> None:
    dump = dumps("moe renormalize routing")
    assert "def _fp8_moe_run_experts(" in dump.repaired().definition["reference"]
    with pytest.raises(Quarantine, match=r"helpers-release: .*0\.0\.1"):
        repair(dump.dumped, dump.call, dump.template, release="0.0.1")


def test_a_helper_that_nothing_defines_is_named(dumps: Dumps) -> None:
    dump = dumps("moe renormalize routing")
    lost = dataclasses.replace(dump.template, module="flashinfer.trace.templates.norm")
    with pytest.raises(Quarantine, match=r"reference-names: .*_fp8_moe_run_experts"):
        repair(dump.dumped, dump.call, lost)


def test_template_axes_that_are_inputs_too_are_bound_to_their_size(dumps: Dumps) -> None:
    definition = dumps("moe DeepSeek routing").repaired().definition
    assert not {"top_k", "n_group", "topk_group"} & definition["inputs"].keys()
    assert "top_k=8" in definition["reference"]
    assert definition["axes"]["top_k"] == {
        "type": "const",
        "value": 8,
        "description": "Number of experts to route to per token.",
    }


def test_a_batch_size_scalar_is_bound_to_the_shape(dumps: Dumps) -> None:
    reference = dumps("trtllm context").repaired().definition["reference"]
    assert "batch_size=block_tables.shape[0]" in reference


def test_optional_inputs_that_the_reference_needs_are_not_dropped(dumps: Dumps) -> None:
    dump = dumps("moe DeepSeek routing")
    tensors = {k: v for k, v in dump.call.tensors.items() if k != "routing_bias"}
    with pytest.raises(Quarantine, match=r"input-absent: .*routing_bias"):
        dump.repaired(tensors=tensors, scalars={**dump.call.scalars, "routing_bias": None})


def test_optional_inputs_that_the_reference_can_do_without_are_dropped(dumps: Dumps) -> None:
    dump = dumps("moe renormalize routing")
    tensors = {k: v for k, v in dump.call.tensors.items() if k != "routing_bias"}
    scalars = {**dump.call.scalars, "routing_bias": None}
    definition = dump.repaired(tensors=tensors, scalars=scalars).definition
    assert "routing_bias" not in definition["inputs"]
    assert "routing_bias=None" in definition["reference"]


def test_shuffled_weights_are_said_to_be_in_logical_order(dumps: Dumps) -> None:
    dump = dumps("moe DeepSeek routing")
    plain = dump.repaired().definition["description"]
    shuffled = dump.with_scalars(use_shuffled_weight=True).definition["description"]
    assert shuffled.startswith(plain)
    assert "logical order" in shuffled


def test_block_major_weights_do_not_pass_as_plain_ones(dumps: Dumps) -> None:
    dump = dumps("moe DeepSeek routing")
    tensors = {**dump.call.tensors, "gemm1_weights": fact(FP8, 96, 56, 2048, 128)}
    with pytest.raises(Quarantine, match=r"rank: .*gemm1_weights"):
        dump.repaired(tensors=tensors)


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
