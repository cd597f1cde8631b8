"""The table of op types by models."""

from __future__ import annotations

from pathlib import Path

import pytest
from kerneldefs.dataset.families import as_markdown, finished
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import write_json


def test_a_finished_run_is_counted_by_class(tmp_path: Path) -> None:
    rows = [
        ("gemm", "derived", None),
        ("gemm", "derived", "unfused"),
        ("rmsnorm", "captured", None),
    ]
    staged = {
        f"{kind}/{number}.json": {"op_type": kind, "class": about, "variant": variant}
        for number, (kind, about, variant) in enumerate(rows)
    }
    known = {"op_type": "gemm", "class": "existing", "variant": None}
    lost = [{"name": "torch.linear"}, {"name": "torch.linear"}]
    write_json(tmp_path / "m" / "report.json", {"quarantined": lost})
    manifest = {"model": "m", "definitions": staged, "existing": [known]}
    write_json(tmp_path / "m" / "manifest.json", manifest)
    assert as_markdown(finished(tmp_path)).splitlines() == [
        "| op_type | m |",
        "| --- | --- |",
        "| gemm | 1E 1D+1 |",
        "| rmsnorm | 1C |",
        "| all | 4 |",
        "| no definition | 1 |",
    ]


def test_a_directory_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(KerneldefsError, match=r"no \*/manifest\.json"):
        finished(tmp_path)
