"""Already in the dataset: by name or alias, and by structure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kerneldefs.dataset.existing import Dataset, differences
from kerneldefs.definition.signature import names_of
from kerneldefs.errors import KerneldefsError

from .make import norm, sampling, write_definition


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("gqa_paged_prefill_h32_kv8_d128_ps1", "gqa_paged_prefill_causal_h32_kv8_d128_ps1"),
        ("gqa_ragged_h32_kv8_d128", "gqa_ragged_prefill_causal_h32_kv8_d128"),
        ("top_k_top_p_sampling_v7", "top_k_top_p_sampling_from_probs_v7"),
        ("top_k_sampling_v7", "top_k_sampling_from_probs_v7"),
        ("gemm_bf16_N256_K7168", "gemm_n256_k7168"),
        ("gdn_prefill_qk4_v8_d128", "gdn_prefill_qk4_v8_d128_k_last"),
        ("rmsnorm_h4096_eps1e-5", "rmsnorm_h4096"),
        ("fused_add_rmsnorm_h4096_eps1e-5", "fused_add_rmsnorm_h4096"),
    ],
)
def test_known_aliases(name: str, alias: str) -> None:
    assert names_of(name) == [name, alias]


@pytest.mark.parametrize(
    "name",
    [
        "gqa_paged_prefill_h32_kv8_d128_ps1_noncausal",
        "gqa_ragged_h32_kv8_d128_win511",
        "top_k_top_p_sampling_v7_joint",
        "gqa_paged_decode_h32_kv8_d128_ps1",
        "rmsnorm_h4096",
    ],
)
def test_names_that_mean_something_else_have_no_alias(name: str) -> None:
    assert names_of(name) == [name]


def dataset(tmp_path: Path, *definitions: dict[str, Any]) -> Dataset:
    (tmp_path / "definitions").mkdir()
    for definition in definitions:
        write_definition(tmp_path / "definitions", definition)
    return Dataset(tmp_path)


def test_an_alias_of_the_same_structure_is_the_same_kernel(tmp_path: Path) -> None:
    found = dataset(tmp_path, {**sampling(9), "name": "top_k_top_p_sampling_from_probs_v9"})
    match = found.find(sampling(9))
    assert match is not None
    assert (match.name, match.differences) == ("top_k_top_p_sampling_from_probs_v9", ())


def test_an_alias_of_another_structure_is_another_kernel(tmp_path: Path) -> None:
    other = {**sampling(9), "name": "top_k_top_p_sampling_from_probs_v9"}
    other["outputs"] = {"samples": {"shape": ["batch_size"], "dtype": "int64"}}
    assert dataset(tmp_path, other).find(sampling(9)) is None


def test_epsilon_tells_norms_of_one_structure_apart(tmp_path: Path) -> None:
    found = dataset(tmp_path, {**norm(64, eps=1e-5), "name": "rmsnorm_h64"})
    same = found.find(norm(64, eps=1e-5))
    assert same is not None and same.differences == ()
    other = found.find(norm(64))
    assert other is not None and other.differences == ("epsilon: (1e-05,) and (1e-06,)",)


def test_descriptions_and_the_order_of_axes_are_no_difference() -> None:
    one, other = norm(64), norm(64)
    other["axes"] = {k: {**v, "description": "x"} for k, v in reversed(other["axes"].items())}
    assert differences(one, other) == []


def test_the_order_of_inputs_is_a_difference() -> None:
    one = norm(64)
    one["inputs"]["w"] = {"shape": ["hidden_size"], "dtype": "bfloat16"}
    other = {**one, "inputs": dict(reversed(one["inputs"].items()))}
    assert differences(one, other) == ["inputs (order)"]


@pytest.mark.parametrize("text", ["{", "[]", '{"axes": 3, "reference": "def"}', '{"a":1,"a":2}'])
def test_an_unreadable_definition_of_the_dataset_is_a_difference(tmp_path: Path, text: str) -> None:
    path = tmp_path / "definitions/rmsnorm/rmsnorm_h64.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    match = Dataset(tmp_path).find(norm(64))
    assert match is not None and match.differences


def test_a_folder_without_definitions_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KerneldefsError, match="give the root of a flashinfer-trace dataset"):
        Dataset(tmp_path)
