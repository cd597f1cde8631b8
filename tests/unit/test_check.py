"""The sentence that a run ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import check
import pytest
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import write_json


def write_report(folder: Path, errors: list[dict[str, str]]) -> Path:
    path = folder / "report.json"
    report: dict[str, Any] = {"model": "m", "definitions": [{}, {}], "errors": errors}
    write_json(path, report)
    return path


def test_report_without_an_error(tmp_path: Path) -> None:
    assert check.verdict(write_report(tmp_path, [])).startswith("m: 2 definitions without an error")


def test_errors_are_quoted_and_counted(tmp_path: Path) -> None:
    errors = [{"path": f"gemm/{i}.json", "message": f"wrong {i}"} for i in range(7)]
    with pytest.raises(KerneldefsError) as caught:
        check.verdict(write_report(tmp_path, errors))
    sentence = str(caught.value)
    assert "7 errors" in sentence
    assert "gemm/4.json: wrong 4; and 2 more" in sentence
    assert "gemm/5.json" not in sentence
    assert str(tmp_path / "report.txt") in sentence


def test_error_of_the_whole_run_names_the_model(tmp_path: Path) -> None:
    with pytest.raises(KerneldefsError, match="m: no definition was made"):
        check.verdict(write_report(tmp_path, [{"path": "", "message": "no definition was made"}]))


def test_missing_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KerneldefsError, match="no such file"):
        check.verdict(tmp_path / "report.json")
