"""Keep one config's failed capture from holding up the others of its model.

    python scripts/failed.py CODE LOG OUT

writes, for a capture that ended with exit code CODE, the directory OUT that says so: the configs
that were captured are staged, the report has the failure as an error, and checking it fails the
run. The directory goes when the run is over, so that the next one captures again. A capture that
was killed, for memory or time or by hand, is passed on with its exit code instead: Snakemake starts
it again, and on a cluster with more of both.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kerneldefs.capture.record import CAPTURE_FILE, FAILED
from kerneldefs.cli import run
from kerneldefs.files import last_error, replaced_directory, write_json

SIGNALLED = 128  # a shell reports a process that a signal ended as 128 and the signal's number


def main() -> int:
    """Write the failed capture; the code of a killed one is returned."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("code", type=int, help="the capture's exit code")
    parser.add_argument("log", type=Path, help="its log")
    parser.add_argument("out", type=Path, help="its capture directory, to write")
    options = parser.parse_args()
    if options.code > SIGNALLED:
        return int(options.code)
    summary = {"status": FAILED, "reason": f"{last_error(options.log)} (log: {options.log})"}
    with replaced_directory(options.out) as folder:
        write_json(folder / CAPTURE_FILE, summary)
    return 0


if __name__ == "__main__":
    run(main)
