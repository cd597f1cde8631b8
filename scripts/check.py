"""Fail where a run's report has an error: validating succeeds, so that its report is kept.

    python scripts/check.py results/m/report.json --dumps results/m/dumps

With --dumps, captures that failed are removed, so that the next run makes them again.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from kerneldefs.capture.record import CAPTURE_FILE
from kerneldefs.cli import run
from kerneldefs.definition.normalise import FAILED
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json

SHOWN = 5  # errors quoted; the report has them all


def verdict(path: Path) -> str:
    """Return a sentence about a report without an error; raise KerneldefsError on one with."""
    report = read_json(path)
    errors = report["errors"]
    if errors:
        quoted = [f"{error['path'] or report['model']}: {error['message']}" for error in errors]
        more = f"; and {len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
        raise KerneldefsError(
            f"{path}: {len(errors)} errors, so nothing of this run may be published: "
            f"{'; '.join(quoted[:SHOWN])}{more}; {path.with_suffix('.txt')} explains"
        )
    count = len(report["definitions"])
    return f"{report['model']}: {count} definitions without an error; {path.with_suffix('.txt')}"


def remove_failed(dumps: Path) -> list[str]:
    """Remove the captures that only say that they failed; return their configs."""
    failed = [
        path.parent
        for path in sorted(dumps.glob(f"*/{CAPTURE_FILE}"))
        if read_json(path).get("status") == FAILED
    ]
    for folder in failed:
        shutil.rmtree(folder)
    return [folder.name for folder in failed]


def main() -> int:
    """Check one report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path, help="report.json, as validate.py writes it")
    parser.add_argument("--dumps", type=Path, help="folder with the captures")
    options = parser.parse_args()
    if options.dumps:
        for name in remove_failed(options.dumps):
            print(f"{name}: its capture failed; the next run makes it again")
    print(verdict(options.report))
    return 0


if __name__ == "__main__":
    run(main)
