"""FlashInfer's own templates give the names that the families expect, for every format."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kerneldefs.capture.observe import ops
from kerneldefs.derive.catalogue import Catalogue, read_catalogue
from kerneldefs.derive.derive import derive
from kerneldefs.derive.equivalent import Options, fact
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.expected import expected

from .calls import BF16, attention, experts, seen
from .make import ROOT, config
from .observed import FOLDER, load
from .test_observed import FROM_TEMPLATES, LOST

SIZES = {"num_experts": 16, "num_local_experts": 16, "hidden_size": 512, "intermediate_size": 256}
ROUTINGS = ("default", "renormalize", "ds", "llama4", "renormalize_naive")


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Read the installed FlashInfer's templates, as the workflow does."""
    path = tmp_path_factory.mktemp("catalogue") / "templates.json"
    command = [sys.executable, "scripts/templates.py", "--out", str(path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return read_catalogue(path)


@pytest.mark.slow
def test_every_format_has_the_name_that_its_family_expects(catalogue: Catalogue) -> None:
    linears = [
        seen(
            ops.LINEAR,
            {"x": fact(BF16, 16, 512), "weight": fact("uint8", 256, 512)},
            (fact(BF16, 16, 256),),
            quantization=scheme,
            bias=False,
        )
        for scheme in ("nvfp4", "mxfp8", "fp8_tensor")
    ]
    mixtures = [
        experts(routing, quantization=scheme, n_group=4, topk_group=2, **SIZES)
        for scheme in ("fp8_block", "nvfp4")
        for routing in ROUTINGS
    ]
    others = [attention("decode"), attention("extend", cached_prefix=True)]
    result = derive(config("llama-3.1-8b"), [*linears, *mixtures, *others], catalogue, Options())
    assert [(item.name, item.reason) for item in result.quarantined] == []
    names = {candidate.name for candidate in result.candidates}
    assert {"gemm_fp4_N256_K512", "gemm_mxfp8_N256_K512", "bmm_fp8_N256_K512"} <= names
    assert {"fp4_quantize_k512", "mxfp8_quantize_k512", "merge_state_h4_d8"} <= names
    for routing in ROUTINGS:
        groups = "_ng4_kg2" if routing == "ds" else ""
        start = f"scale_{routing}_routing_topk2"
        assert f"moe_fp8_block_{start}{groups}_e16_h512_i256" in names
        assert f"moe_fp4_block_{start}_e16_h512_i256_act3{groups}" in names


@pytest.mark.slow
@pytest.mark.parametrize("model", FROM_TEMPLATES)
def test_quantized_layers_of_captures_become_definitions(catalogue: Catalogue, model: str) -> None:
    observed = load(FOLDER / f"{model}.json")
    sizes = expected(observed.model, observed.config)
    result = derive(observed.config, observed.calls, catalogue, Options(), predicted=sizes)
    assert FROM_TEMPLATES[model] <= {candidate.name for candidate in result.candidates}
    assert {item.cause for item in result.quarantined} == set(LOST.get(model, ()))


@pytest.mark.slow
def test_templates_that_no_api_carries_are_in_it_all_the_same(catalogue: Catalogue) -> None:
    without = {entry.prefix for entry in catalogue.entries if not entry.api}
    assert "mla_paged_prefill" in without
    assert catalogue.find("flashinfer.norm.rmsnorm", "rmsnorm") is not None
    assert catalogue.find("flashinfer.norm.rmsnorm", "layernorm") is None


def test_a_file_that_is_no_catalogue_is_named(tmp_path: Path) -> None:
    path = tmp_path / "templates.json"
    path.write_text("{}")
    with pytest.raises(KerneldefsError, match=r"scripts/templates\.py"):
        read_catalogue(path)
