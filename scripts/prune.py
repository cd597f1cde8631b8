"""Remove what earlier settings and cut-off commands left in a model's results.

    snakemake prune --cores 1 --config model=kimi-k2

removes, for the models of these settings, the config, capture, candidates, logs and benchmarks of
every serving config that is no longer asked for, and hidden temporary files. What the settings ask
for, and staged definitions, which staging brings up to date itself, stay. Each path is printed.
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
    arguments.add_argument(
        "kept",
        nargs="+",
        metavar="FOLDER=A,B",
        help="a model's results and the ids of the configs to keep, e.g. results/kimi-k2=a,b",
    )
    return arguments


def main() -> int:
    """Prune; 0 also where there was nothing to remove."""
    options = parser().parse_args()
    from kerneldefs.leftovers import prune

    removed = []
    for word in options.kept:
        folder, _, ids = word.rpartition("=")
        removed += prune(Path(folder), ids.split(","))
    for path in removed:
        print(f"removed {path}")
    print(f"{len(removed)} files and folders removed")
    return 0


if __name__ == "__main__":
    run(main)
