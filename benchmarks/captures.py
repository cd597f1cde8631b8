"""Seconds of a simulated capture by itself and in a worker, and whether all give the same files.

    python benchmarks/captures.py MODEL_CONFIG CONFIG...

MODEL_CONFIG is a directory with a config.json, CONFIG a serving config of that model, as the expand
stage writes it; all of one architecture. Each is captured by itself, then in a worker that has to
start, then twice in the worker that is there. Seconds are the clock's, of the whole command.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from kerneldefs.cli import OWNER  # noqa: E402
from kerneldefs.worker import owner_here  # noqa: E402


def capture(config: Path, model: Path, out: Path, owner: str | None) -> float:
    """Capture into `out`; returns seconds."""
    command = [sys.executable, str(ROOT / "scripts/capture.py"), str(config)]
    environment = {name: value for name, value in os.environ.items() if name != OWNER}
    started = time.monotonic()
    subprocess.run(
        [*command, "--model-config", str(model), "--out", str(out)],
        env=environment | ({OWNER: owner} if owner else {}),
        check=True,
        capture_output=True,
    )
    return time.monotonic() - started


def same(one: Path, other: Path) -> bool:
    """Return whether two directories hold the same files, byte for byte."""
    files = [
        sorted(path.relative_to(top) for path in top.rglob("*") if path.is_file())
        for top in (one, other)
    ]
    names = [str(path) for path in files[0]]
    return files[0] == files[1] and not any(filecmp.cmpfiles(one, other, names, False)[1:])


def main() -> None:
    """Print a row of the table per config."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("configs", nargs="+", type=Path)
    options = parser.parse_args()
    print("| config | load | alone | first in a worker | next | again | the same files |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    owners = (None, owner_here(), owner_here(), owner_here())
    for config in options.configs:
        load = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as scratch:
            outs = [Path(scratch) / str(number) for number in range(len(owners))]
            seconds = [
                capture(config, options.model, out, owner)
                for out, owner in zip(outs, owners, strict=True)
            ]
            equal = all(same(outs[0], out) for out in outs[1:])
        cells = [f"{value:.1f} s" for value in seconds]
        print(f"| {config.stem} | {load:.1f} | {' | '.join(cells)} | {'yes' if equal else 'NO'} |")


if __name__ == "__main__":
    main()
