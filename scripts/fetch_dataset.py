"""Fetch a dataset's definitions from the Hub, to compare staged definitions with.

    python scripts/fetch_dataset.py \\
        flashinfer-ai/flashinfer-trace@0123456789abcdef0123456789abcdef01234567 trace
    snakemake --cores all --config model=kimi-k2 dataset=trace

Only definitions/** of one commit is fetched, not the workloads and traces. To publish, use a clone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kerneldefs.cli import run


def main() -> int:
    """Fetch; a folder that an earlier call filled is replaced once the new one is complete."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", metavar="REPOSITORY@COMMIT", help="all 40 digits of the commit")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--endpoint", help="address of the hub; default: huggingface_hub's own")
    options = parser.parse_args()
    from kerneldefs.publish.hub import fetch_dataset

    count = fetch_dataset(options.dataset, options.out, options.endpoint)
    print(f"{options.out}: {count} definitions of {options.dataset}")
    return 0


if __name__ == "__main__":
    run(main)
