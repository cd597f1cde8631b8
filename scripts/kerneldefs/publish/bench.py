"""flashinfer-bench's own validation of what was published, where its release has one.

Releases up to 0.1.2 have none. A later one's command exits with 0 whatever it finds and writes a
report with the time in its name, so the report is what counts.

Unproven: no release with the command could be installed; the report's form is the documented one.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json

CHECKS = ("layout", "definition")  # the others are of workloads and solutions
_SECONDS = 600


def can_validate() -> bool:
    """Whether the installed flashinfer-bench has the command; nothing of it is imported."""
    spec = importlib.util.find_spec("flashinfer_bench")
    folders = spec.submodule_search_locations if spec else None
    return any((Path(folder) / "data/validate.py").is_file() for folder in folders or ())


def validate(dataset: Path, names: Iterable[str], command: str | None = None) -> list[str]:
    """Return what flashinfer-bench has against these definitions of a dataset, a line each.

    `command` is its program, by default the one of this environment. Raises KerneldefsError where
    it writes no report.
    """
    program = command or str(Path(sys.executable).with_name("flashinfer-bench"))
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(program, "validate", "--disable-gpu", "--outputs", "json"),
                *("--dataset", str(dataset), "--output-folder", folder),
                *("--checks", ",".join(CHECKS), "--definitions", ",".join(sorted(names))),
            ],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        reports = sorted(Path(folder).glob("report-*.json"))
        if not reports:
            said = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise KerneldefsError(
                f"{program} validate: wrote no report ({said}); run it by hand on {dataset}"
            )
        return list(errors_of(read_json(reports[-1])))


def errors_of(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the errors of a report in words; warnings and checks that were not run are none."""
    for name, found in sorted(report["definitions"].items()):
        results = [(check, found.get(check)) for check in CHECKS]
        said = [
            f"{name}: {check}: {message['message']}"
            for check, result in results
            if result
            for message in result["messages"]
            if message["level"] == "error"
        ]
        if found["status"] == "error" and not said:
            said = [f"{name}: has an error that the report does not explain"]
        yield from said
