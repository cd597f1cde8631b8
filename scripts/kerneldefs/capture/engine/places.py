"""Where the processes of one engine capture leave what they found, and what they are told."""

from __future__ import annotations

from pathlib import Path

# Set in every process of one engine; its value names the capture, so that all of them are found.
MARK = "KERNELDEFS_ENGINE"
FOLDER = "KERNELDEFS_ENGINE_FOLDER"  # the folder that ranks write to

RANK_FILE = "rank.json"  # in a rank's folder: which backends SGLang picked there
FINISHED_FILE = "finished"  # in a rank's folder: the rank wrote all that it saw
REQUEST_FILE = "request.json"  # what the engine is to serve
DONE_FILE = "done.json"  # the probe went through, with the seconds that it took
FAILURES = "failures"  # a file for each process that failed


def rank_folder(folder: Path, rank: int) -> Path:
    """Return the folder of a rank below a capture's folder."""
    return folder / f"rank{rank}"
