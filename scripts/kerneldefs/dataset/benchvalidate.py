"""flashinfer-bench's own `validate` command, where the installed release has one.

Release 0.1.2 has none. What is relied on is the form that its documentation describes for later
ones (docs/flashinfer-trace/validate.mdx of flashinfer-ai/flashinfer-bench, April 2026): a report
`report-YYYYMMDD-HHMMSS.json` with a status and messages per definition and check. No release that
has the command was at hand, so this is tested on such a report and otherwise unproven. The command
exits 0 whatever it finds, hence the report is read.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kerneldefs.dataset.findings import Checked
from kerneldefs.definition.candidates import DEFINITIONS_FOLDER
from kerneldefs.definition.checks import ERROR, WARNING, Finding
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json

PACKAGE, COMMAND = "flashinfer_bench", "flashinfer-bench"
CHECKS = ("layout", "definition")  # those that need neither workloads nor solutions nor a GPU
LEVELS = {"error": ERROR, "warning": WARNING}
_LEFT_OUT = Finding("bench-report", ERROR, f"{COMMAND} validate did not look at it")


def available() -> bool:
    """Whether the installed flashinfer-bench can validate; its package is not imported for that."""
    spec = importlib.util.find_spec(PACKAGE)
    places = (spec.submodule_search_locations or ()) if spec else ()
    return any((Path(place) / "data" / "validate.py").is_file() for place in places)


def validated(checked: Iterable[Checked], definitions: Path) -> list[Checked]:
    """Add what flashinfer-bench has against each file of a definitions folder.

    Raises KerneldefsError where the installed release has no such command, or its report is not of
    the documented form.
    """
    if not available():
        raise KerneldefsError(
            f"the installed {COMMAND} has no validate command; leave --bench out, or install a "
            "release that has it"
        )
    with tempfile.TemporaryDirectory() as folder:
        root, reports = Path(folder, "dataset"), Path(folder, "reports")
        root.mkdir()
        below = definitions / DEFINITIONS_FOLDER
        (root / DEFINITIONS_FOLDER).symlink_to((below if below.is_dir() else definitions).resolve())
        return with_report(checked, read_json(_run(root, reports)))


def errors_in(dataset: Path, names: Iterable[str]) -> list[str]:
    """Return what flashinfer-bench has against these definitions of a dataset, a line each.

    Raises KerneldefsError like `validated`.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows = _rows(read_json(_run(dataset, Path(folder, "reports"))))
    return [
        f"{name}: {finding.check}: {finding.message}"
        for name in sorted(names)
        for finding in rows.get(name, [_LEFT_OUT])
        if finding.severity == ERROR
    ]


def _run(root: Path, reports: Path) -> Path:
    """Run the command; return its report."""
    command = [str(Path(sys.executable).with_name(COMMAND)), "validate", "--dataset", str(root)]
    command += ["--checks", ",".join(CHECKS), "--disable-gpu"]
    command += ["--outputs", "json", "--output-folder", str(reports)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(reports.glob("report-*.json"))
    if len(found) != 1:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1][:200]
        raise KerneldefsError(
            f"{COMMAND} validate wrote {len(found)} reports and said: {said}; leave --bench out"
        )
    return found[0]


def with_report(checked: Iterable[Checked], report: Any) -> list[Checked]:
    """Add a report's messages to the files that they are about.

    A definition that the report leaves out is an error: the command skips files in silence.
    """
    rows = _rows(report)
    return [
        dataclasses.replace(
            item,
            findings=(*item.findings, *rows.get(str(item.definition.get("name")), [_LEFT_OUT])),
        )
        for item in checked
    ]


def _rows(report: Any) -> dict[str, list[Finding]]:
    """Return a report's findings by definition."""
    try:
        return {name: list(_findings(row)) for name, row in report["definitions"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise KerneldefsError(
            f"the report of {COMMAND} validate is not of the documented form ({error!r}); go on "
            "without it"
        ) from None


def _findings(row: dict[str, Any]) -> Iterator[Finding]:
    """Errors and warnings of each check; a check of bad status that says nothing is an error."""
    for check, result in row.items():
        if check == "status" or result is None:
            continue
        messages = [m for m in result["messages"] if m["level"] in LEVELS]
        for message in messages:
            yield Finding(f"bench-{check}", LEVELS[message["level"]], message["message"])
        if result["status"] == "error" and not any(m["level"] == "error" for m in messages):
            yield Finding(f"bench-{check}", ERROR, "it failed and gave no reason")
        if result["status"] not in ("ok", *LEVELS):
            raise KeyError(result["status"])
