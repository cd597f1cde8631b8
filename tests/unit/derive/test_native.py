"""References against what SGLang and Transformers compute in torch, on random numbers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .make import ROOT

# Cases of native.py. What is not here has no forward in torch: docs/derive.md names it.
CASES = (
    *("gemm", "rope", "gqa_paged", "mla_paged", "moe", "gdn_prefill", "norms_and_activation"),
    *("gqa_sinks", "trtllm_sinks", "moe_mxfp4"),
)


@pytest.fixture(scope="module")
def agreed() -> tuple[set[str], str]:
    """Run all cases in one process: SGLang's import pretends a GPU, which would stay."""
    paths = os.pathsep.join((str(ROOT / "scripts"), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.derive.native"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    return set(done.stdout.split("\n")), done.stderr


@pytest.mark.parametrize("case", CASES)
def test_references_agree_with_the_native_forward(agreed: tuple[set[str], str], case: str) -> None:
    names, errors = agreed
    assert case in names, errors
