"""Compare two captures of one serving config, such as a simulated one and one from real GPUs.

Exit code 0 when they say the same, 1 with every difference as a sentence.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kerneldefs.cli import run


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("one", type=Path, help="capture directory")
    arguments.add_argument("other", type=Path, help="capture directory of the same config")
    arguments.add_argument("--json", type=Path, help="write the comparison to this file, too")
    arguments.add_argument(
        "--report-only", action="store_true", help="exit with 0 also where they differ"
    )
    return arguments


def main() -> int:
    """Compare, print, and write the comparison where asked."""
    options = parser().parse_args()
    from kerneldefs.capture.parity import compare
    from kerneldefs.files import write_json

    found = compare(options.one, options.other)
    if options.json:
        write_json(options.json, found.to_json())
    first, second = found.definitions
    for sentence in found.differences:
        print(f"differs: {sentence}")
    print(f"definitions: {first} and {second}, {found.same} the same; ", end="")
    print(f"kinds of calls: {found.calls[0]} and {found.calls[1]}, {found.same_calls} the same")
    return 0 if found.whole or options.report_only else 1


if __name__ == "__main__":
    run(main)
