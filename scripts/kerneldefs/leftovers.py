"""What earlier settings and cut-off commands left in a model's results: found, and removed.

A config that is no longer asked for keeps its capture, so that asking again costs nothing; only
`prune` removes it. A temporary name that a killed command left is nobody's, and goes at the next
chance: its owner, whose process id stands in the name, is gone. A capture that failed is written
down where the capture would be, and goes when its run is over, so that the next one makes it.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from kerneldefs.capture.record import CAPTURE_FILE, FAILED
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json, remove_abandoned

# Folders of a model's results with a file or directory per config.
PER_CONFIG = ("configs", "dumps", "candidates", "derived", "others", "parity")
_STAGES = ("expand", "capture", "normalise", "derive", "others", "parity")
_OF_JOBS = tuple(f"logs/{stage}" for stage in _STAGES)
_OF_BENCHMARKS = tuple(f"benchmarks/{stage}" for stage in _STAGES)


def left_over(folder: Path, keep: Collection[str]) -> list[str]:
    """Return the ids of configs that a model's results hold and `keep` does not, sorted."""
    found = {_id(path) for name in PER_CONFIG for path in _visible(folder / name)}
    return sorted(found - set(keep))


def prune(folder: Path, keep: Collection[str]) -> list[Path]:
    """Remove everything of the configs that are not in `keep`; return what was removed."""
    others = set(left_over(folder, keep))
    removed = []
    for name in (*PER_CONFIG, *_OF_JOBS, *_OF_BENCHMARKS):
        for path in _visible(folder / name):
            if _id(path) in others:
                _remove(path)
                removed.append(path)
        removed += remove_abandoned(folder / name)
    return removed + remove_abandoned(folder)


def failed_captures(captures: Iterable[Path]) -> list[Path]:
    """Return the capture directories that only say that their capture failed.

    One that cannot be read is none of them: who needs it will name it.
    """
    return [folder for folder in captures if _failed(folder / CAPTURE_FILE)]


def _failed(path: Path) -> bool:
    try:
        return bool(read_json(path)["status"] == FAILED)
    except (KerneldefsError, TypeError, KeyError):
        return False


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _id(path: Path) -> str:
    """A config's id: ids hold dots, so only the endings that files of one have are cut off."""
    for ending in (".json", ".log", ".tsv"):
        if path.name.endswith(ending):
            return path.name.removesuffix(ending)
    return path.name


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
