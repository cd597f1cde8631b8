"""Fail where a run's report has an error: validating succeeds, so that its report is kept.

python scripts/check.py results/m/report.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kerneldefs.cli import run
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


def main() -> int:
    """Check one report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path, help="report.json, as validate.py writes it")
    print(verdict(parser.parse_args().report))
    return 0


if __name__ == "__main__":
    run(main)
