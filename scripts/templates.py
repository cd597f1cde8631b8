"""Write down every trace template of the installed FlashInfer, for deriving and for coverage.

    python scripts/templates.py --out results/cache/templates.json

Needs torch and FlashInfer, no GPU. Each template is asked for the JSON that it dumps, with made-up
sizes; where no call could be made up the file says why.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kerneldefs.cli import run


def main() -> int:
    """Write the catalogue and say how many templates it has."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    from kerneldefs.derive.catalogue import write_catalogue

    catalogue = write_catalogue(options.out)
    usable = sum(entry.dumped is not None for entry in catalogue.entries)
    print(
        f"FlashInfer {catalogue.release}: {len(catalogue.entries)} templates, {usable} with a call"
    )
    return 0


if __name__ == "__main__":
    run(main)
