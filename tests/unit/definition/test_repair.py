"""The calls of real models, from FlashInfer's dump to clean definitions."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable

import pytest
from kerneldefs.definition.checks import Subject, errors, run_checks
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.repair import repair
from kerneldefs.definition.repairs import REPAIRS, Repair

from .calls import BF16, FP8, fact
from .cases import CASES
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


@pytest.mark.parametrize("step", REPAIRS, ids=lambda step: step.id)
def test_each_repair_names_its_cause_with_file_and_release_and_its_evidence(step: Repair) -> None:
    assert re.match(r"flashinfer/[\w/.]+", step.cause) and "(0.6.18)" in step.cause
    assert step.evidence


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


def test_marked_calls_are_quarantined_with_the_mark(dumps: Dumps) -> None:
    with pytest.raises(Quarantine, match=r"marked: .*output synthesised"):
        dumps("rmsnorm").repaired(marks=("output synthesised",))


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
