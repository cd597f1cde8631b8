"""Classes of definitions, the links of requests, drafts for FlashInfer, and what was exercised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kerneldefs.dataset.classes import classified, derived_facts, read_requests
from kerneldefs.dataset.derived import joined_indexes
from kerneldefs.dataset.exercised import exercised
from kerneldefs.dataset.stage import Selection
from kerneldefs.dataset.union import Staged
from kerneldefs.dataset.upstream import family_name, write_drafts
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import write_json

NAME = "mamba_ssu_decode_h4_d3_s5_ng2"


def staged(name: str, *tags: str, repairs: tuple[str, ...] = ()) -> Staged:
    """Return a staged definition with tags."""
    definition = {
        "name": name,
        "op_type": "gemm",
        "description": "A product.",
        "tags": list(tags),
        "axes": {"M": {"type": "var"}, "N": {"type": "const", "value": 4}},
        "inputs": {"A": {"shape": ["M", "N"], "dtype": "bfloat16"}},
        "outputs": {"C": {"shape": ["M", "N"], "dtype": "bfloat16"}},
        "reference": "def run(A):\n    return A\n",
    }
    return Staged(definition, ("h200-tp1",), repairs)


def about(*items: Staged, facts: Any = None, requests: Any = None) -> list[Staged]:
    """Return the items with their classes."""
    selection = Selection(items, (), (), ())
    return list(classified(selection, facts or {}, requests or {}).staged)


def test_each_class() -> None:
    api = "fi_api:flashinfer.x.y"
    captured, repaired, derived, missing = about(
        staged("a", api),
        staged("b", api, repairs=("own-template",)),
        staged("c", api, "origin:derived", "variant:page_size"),
        staged("d", "origin:derived"),
        facts={"c": {"fi_trace_template": False, "routed": True, "variant": "page_size"}},
    )
    keys = ("class", "fi_supported", "fi_trace_template", "sglang_routes_to_flashinfer")
    assert [captured.about[key] for key in keys] == ["captured", True, True, True]
    assert [repaired.about[key] for key in keys] == ["captured", True, False, True]
    assert [derived.about[key] for key in keys] == ["derived", True, False, True]
    assert [missing.about[key] for key in keys] == ["fi_missing", False, False, False]
    assert derived.about["variant"] == "page_size"


def test_a_link_reaches_manifest_and_description(tmp_path: Path) -> None:
    path = tmp_path / "requests.yaml"
    path.write_text("d: https://example.org/1\n")
    (item,) = about(staged("d", "origin:derived"), requests=read_requests(path))
    assert item.about["fi_trace_template_request_url"] == "https://example.org/1"
    assert item.definition["description"] == "A product. Kernel requested: https://example.org/1"
    assert read_requests(None) == {}
    path.write_text("- d\n")
    with pytest.raises(KerneldefsError, match="names and links"):
        read_requests(path)


def test_facts_of_what_ran_come_before_those_of_a_variant(tmp_path: Path) -> None:
    for config, variant in (("a", "page_size"), ("b", ""), ("c", "page_size")):
        entry = {"variant": variant, "fi_supported": True}
        write_json(tmp_path / config / "index.json", {"definitions": {"x": entry, "y": {}}})
    found = derived_facts([tmp_path / config for config in "abc"])
    assert found == {"x": {"variant": "", "fi_supported": True}}


def test_drafts_have_what_an_issue_needs(tmp_path: Path) -> None:
    api = "fi_api:flashinfer.mamba.selective_state_update"
    items = about(staged(NAME, api, "origin:derived"), staged("plain", api))
    lost = [{"name": "sglang.sparse_indexer", "cause": "fi-missing", "reason": "No kernel."}]
    assert write_drafts(items, lost, tmp_path / "upstream") == 2
    template = (tmp_path / "upstream/template-mamba_ssu_decode.md").read_text()
    for part in ("enhancement", "flashinfer-trace", "def run(A)", "- [ ]", NAME, "`A`"):
        assert part in template
    kernel = (tmp_path / "upstream/kernel-sglang-sparse_indexer.md").read_text()
    assert kernel.startswith("# Kernel request") and "No kernel." in kernel
    assert "template-mamba_ssu_decode.md" in (tmp_path / "upstream/README.md").read_text()


@pytest.mark.parametrize(
    ("name", "family"),
    [
        (NAME, "mamba_ssu_decode"),
        ("gqa_paged_decode_h32_kv8_d128_ps64", "gqa_paged_decode"),
        ("moe_bf16_renormalize_routing_topk8_e32_h2048_i768", "moe_bf16_renormalize_routing"),
    ],
)
def test_families_are_names_without_sizes(name: str, family: str) -> None:
    assert family_name(name) == family


def test_what_was_and_what_was_not_exercised() -> None:
    rows = [
        {"name": "moe_fp8_block_scale_ds_routing_topk8_ng8_kg4_e32_h7168_i2048"},
        {"name": "moe_bf16_renormalize_routing_topk8_e32_h2048_i768", "class": "derived"},
        {"name": "moe_nvfp4_block_scale_clamped_sigmoid_renorm_routing_topk4_e16_h8_i8"},
        {"name": "top_k_top_p_sampling_v128"},
        {"name": "top_k_sampling_v128", "class": "derived"},
        {"name": "gqa_paged_decode_h4_kv1_d128_ps1"},
        {"name": "gqa_paged_decode_h4_kv1_d128_ps64", "class": "derived"},
    ]
    found = exercised(rows, None)
    assert found["moe_routings"]["captured"] == ["ds", "sigmoid_renorm"]
    assert found["moe_routings"]["derived"] == ["renormalize"]
    assert "llama4" in found["moe_routings"]["neither"]
    assert found["sampling"]["captured"] == ["top-k and top-p"]
    assert found["sampling"]["derived"] == ["top-k"]
    assert "speculative" in found["sampling"]["neither"]
    assert found["page_sizes"] == {"captured": [1], "derived": [64]}


def test_indexes_are_joined_without_losing_a_source() -> None:
    captured = {"x": {"definitions": {"a": {"sources": [1]}}, "not_definitions": [{"op": "o"}]}}
    derived = {
        "x": {"definitions": {"a": {"sources": [2]}, "b": {"sources": [3]}}, "read": ["o"]},
        "y": {"definitions": {"c": {"sources": [4]}}, "not_definitions": []},
    }
    found = joined_indexes(captured, derived)
    assert found["x"]["definitions"]["a"]["sources"] == [1, 2]
    assert set(found["x"]["definitions"]) == {"a", "b"} and found["x"]["not_definitions"] == []
    assert set(found) == {"x", "y"}
