"""Reports of the form that flashinfer-bench's documentation describes, and its absent command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.dataset import benchvalidate
from kerneldefs.dataset.findings import Checked, check_tree
from kerneldefs.errors import KerneldefsError

from .make import norm, write_definition

QUIET = {"status": "ok", "messages": []}
UNRUN = dict.fromkeys(["workload", "solution", "trace", "baseline", "benchmark"])


def report(**definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a report; checks that are not given were run without a finding, or not at all."""
    config = {
        "dataset": "/data",
        "checks": ["layout", "definition"],
        "disable_gpu": True,
        "op_types": [],
        "definitions": [],
    }
    rows = {
        name: {"status": "ok", "layout": QUIET, "definition": QUIET, **UNRUN, **checks}
        for name, checks in definitions.items()
    }
    return {"config": config, "definitions": rows}


def said(level: str, message: str) -> dict[str, Any]:
    status = "ok" if level == "info" else level
    return {"status": status, "messages": [{"level": level, "message": message}]}


def checked(tmp_path: Path) -> list[Checked]:
    for hidden in (8, 16):
        write_definition(tmp_path, norm(hidden))
    return check_tree(tmp_path)


def test_messages_become_findings_of_their_file(tmp_path: Path) -> None:
    data = report(
        rmsnorm_h8={"definition": said("warning", "missing description: axes.n")},
        rmsnorm_h16={"layout": said("error", "op_type"), "definition": said("info", "fine")},
    )
    last, first = benchvalidate.with_report(checked(tmp_path), data)
    assert [(f.check, f.severity, f.message) for f in first.findings] == [
        ("bench-definition", "warning", "missing description: axes.n")
    ]
    assert [(f.check, f.severity, f.message) for f in last.findings] == [
        ("bench-layout", "error", "op_type")
    ]
    assert last.errors and not first.errors


def test_a_definition_that_the_report_leaves_out_is_an_error(tmp_path: Path) -> None:
    last, first = benchvalidate.with_report(checked(tmp_path), report(rmsnorm_h8={}))
    assert not first.findings
    assert [finding.check for finding in last.errors] == ["bench-report"]


def test_a_failed_check_without_a_message_is_an_error(tmp_path: Path) -> None:
    silent = {"status": "error", "messages": []}
    data = report(rmsnorm_h8={"definition": silent}, rmsnorm_h16={})
    _, first = benchvalidate.with_report(checked(tmp_path), data)
    assert [finding.check for finding in first.errors] == ["bench-definition"]


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        {"definitions": []},
        {"definitions": {"a": {"layout": {}}}},
        {"definitions": {"a": {"layout": {"status": "new", "messages": []}}}},
        {"definitions": {"a": {"layout": {"status": "ok", "messages": ["text"]}}}},
    ],
)
def test_another_form_is_an_error(data: Any) -> None:
    with pytest.raises(KerneldefsError, match="not of the documented form"):
        benchvalidate.with_report([], data)


def test_the_pinned_release_has_no_such_command(tmp_path: Path) -> None:
    assert not benchvalidate.available()
    with pytest.raises(KerneldefsError, match="has no validate command; leave --bench out"):
        benchvalidate.validated([], tmp_path)


def test_the_command_is_asked_for_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in writes the report of what it finds below --dataset, and exits 0 as it would."""
    script = tmp_path / "bin" / "flashinfer-bench"
    script.parent.mkdir()
    data = json.dumps(report(rmsnorm_h8={}, rmsnorm_h16={"layout": said("error", "wrong place")}))
    script.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        "words = dict(zip(sys.argv[2::1], sys.argv[3::1]))\n"
        "assert sys.argv[1] == 'validate' and '--disable-gpu' in sys.argv\n"
        "assert list(pathlib.Path(words['--dataset']).glob('definitions/rmsnorm/*.json'))\n"
        "out = pathlib.Path(words['--output-folder'])\n"
        "out.mkdir()\n"
        f"(out / 'report-20260413-120000.json').write_text({data!r})\n"
    )
    script.chmod(0o755)
    found = checked(tmp_path / "definitions")
    monkeypatch.setattr(sys, "executable", str(script.with_name("python")))
    monkeypatch.setattr(benchvalidate, "available", lambda: True)
    last, first = benchvalidate.validated(found, tmp_path)
    assert not first.errors and [f.message for f in last.errors] == ["wrong place"]
    assert benchvalidate.errors_in(tmp_path, ["rmsnorm_h8", "rmsnorm_h16", "other"]) == [
        "other: bench-report: flashinfer-bench validate did not look at it",
        "rmsnorm_h16: bench-layout: wrong place",
    ]


def test_a_release_with_the_command_is_told_by_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "flashinfer_bench"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "flashinfer_bench", raising=False)
    assert not benchvalidate.available()
    (package / "data/validate.py").write_text("")
    assert benchvalidate.available()
