"""flashinfer-bench's validation, played by a program that reports in the documented form."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.errors import KerneldefsError
from kerneldefs.publish.bench import can_validate, errors_of, validate


def report(status: str, *messages: tuple[str, str]) -> dict[str, Any]:
    said = [{"level": level, "message": message} for level, message in messages]
    entry = {
        "status": status,
        "layout": {"status": "ok", "messages": []},
        "definition": {"status": status, "messages": said},
        "workload": None,
    }
    return {"config": {"dataset": "d"}, "definitions": {"rmsnorm_h64": entry}}


def program(folder: Path, content: dict[str, Any] | None) -> str:
    """Write a program that leaves a report where it is asked to, and always exits with 0."""
    path = folder / "flashinfer-bench"
    (folder / "content.json").write_text(json.dumps(content))
    path.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        "words = sys.argv[1:]\n"
        "assert words[0] == 'validate' and '--disable-gpu' in words\n"
        "assert words[words.index('--definitions') + 1] == 'a,b'\n"
        "out = pathlib.Path(words[words.index('--output-folder') + 1])\n"
        f"text = pathlib.Path({str(folder / 'content.json')!r}).read_text()\n"
        "if text != 'null':\n"
        "    (out / 'report-20260101-000000.json').write_text(text)\n"
        "else:\n"
        "    print('it broke', file=sys.stderr)\n"
    )
    path.chmod(0o755)
    return str(path)


def test_errors_are_read_from_the_report(tmp_path: Path) -> None:
    found = report("error", ("error", "run is missing"), ("warning", "no description"))
    command = program(tmp_path, found)
    assert validate(tmp_path, ["b", "a"], command) == ["rmsnorm_h64: definition: run is missing"]


def test_warnings_are_no_errors() -> None:
    assert list(errors_of(report("warning", ("warning", "no description")))) == []


def test_an_error_without_a_message_is_still_one() -> None:
    assert list(errors_of(report("error"))) == [
        "rmsnorm_h64: has an error that the report does not explain"
    ]


def test_no_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KerneldefsError, match=r"wrote no report \(it broke\)"):
        validate(tmp_path, ["a", "b"], program(tmp_path, None))


def test_a_release_without_the_command_is_told_by_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "flashinfer_bench"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "flashinfer_bench", raising=False)
    assert not can_validate()
    (package / "data/validate.py").write_text("")
    assert can_validate()
