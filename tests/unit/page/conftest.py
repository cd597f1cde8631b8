"""A small run's results, with what the page must show of a definition, and its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dataset.make import norm, sampling
from kerneldefs.files import write_json
from kerneldefs.page.render import report_page
from kerneldefs.page.results import read_results
from publish.make import results

HOSTILE = "<script>document.title = 'taken over'</script>"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with a dump that was repaired, a description that is no friend, and a change."""
    hostile = {**norm(32, "tp:4"), "description": HOSTILE}
    out = results(tmp_path_factory.mktemp("page"), norm(64, "tp:8"), hostile, sampling())
    report = json.loads((out / "report.json").read_text())
    for item in report["definitions"]:
        if item["name"] == "rmsnorm_h64":
            item["dumped"] = {"h200-tp8": ["rmsnorm_h128"]}
        if item["name"] == "rmsnorm_h32":
            item["configs"] = ["h200-tp4"]
    report["not_definitions"] = [
        {"op": "torch.ops.odd", "count": 3, "why": "nobody knows", "configs": ["h200-tp4"]}
    ]
    report["changes"] = {
        "model": "m",
        "releases": {"before": {"sglang": ["0.5.17"]}, "after": {"sglang": ["0.5.21"]}},
        "added": ["rmsnorm/rmsnorm_h64.json"],
        "removed": [],
        "changed": {"sampling/x.json": ["axes/vocab_size/value: 1 and 2"]},
        "retagged": [],
    }
    write_json(out / "report.json", report)
    dumped = {**norm(128), "check": "def check(): ..."}
    write_json(out / "dumps/h200-tp8/rank0/flashinfer/rmsnorm_h128.json", dumped)
    return out


@pytest.fixture(scope="session")
def page(folder: Path) -> Path:
    """The written page."""
    path = folder / "report.html"
    path.write_text(report_page(read_results(folder)), encoding="utf-8")
    return path
