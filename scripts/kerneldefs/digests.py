"""Digests that make a job run again, as params of its rule.

Snakemake reruns a job when an input is newer or a param differs from last time. It sees neither the
code behind a command nor a file that a command reads beside its inputs: words for those are here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from kerneldefs.errors import KerneldefsError
from kerneldefs.files import digest, read_json

PROJECT = Path(__file__).resolve().parents[2]
MANIFEST_FILE = "manifest.json"
STATE_FILE = "staged"

# What shapes the output of a stage, under the project's root: its command, the library, a schema.
_DEFINITION = ("scripts/kerneldefs/definition", "config/schemas/definition.schema.json")
CODE = {
    "capture": ("scripts/capture.py", "scripts/kerneldefs/capture"),
    "normalise": (
        "scripts/normalise.py",
        "scripts/kerneldefs/capture/record.py",
        "scripts/kerneldefs/serving/expected.py",
        "scripts/kerneldefs/serving/ranksizes.py",
        *_DEFINITION,
    ),
    "templates": (
        "scripts/templates.py",
        "scripts/kerneldefs/capture/facts.py",
        "scripts/kerneldefs/capture/made.py",
        "scripts/kerneldefs/capture/passed.py",
        "scripts/kerneldefs/capture/registry.py",
        "scripts/kerneldefs/derive/catalogue.py",
    ),
    "derive": (
        "scripts/derive.py",
        "scripts/kerneldefs/capture/record.py",
        "scripts/kerneldefs/capture/observe/ops.py",
        "scripts/kerneldefs/serving/expected.py",
        "scripts/kerneldefs/serving/ranksizes.py",
        "scripts/kerneldefs/derive",
        *_DEFINITION,
    ),
    "stage": ("scripts/stage.py", "scripts/kerneldefs/dataset", *_DEFINITION),
    "validate": ("scripts/validate.py", "scripts/kerneldefs/dataset", *_DEFINITION),
    "page": ("scripts/page.py", "scripts/kerneldefs/page", "scripts/kerneldefs/templating.py"),
}


def code_digest(stage: str, project: Path = PROJECT) -> str:
    """Return a digest of the code that shapes what a stage writes."""
    sha = hashlib.sha256()
    for name in CODE[stage]:
        root = project / name
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            if not path.is_file() or "__pycache__" in path.parts:
                continue
            content = path.read_bytes()
            sha.update(f"{path.relative_to(project).as_posix()} {len(content)}\n".encode())
            sha.update(content)
    return sha.hexdigest()[:16]


def staged_state(folder: Path) -> str:
    """Return a word that stays the same until a staged file is deleted or edited.

    The stage job gets the word as a param and writes it down in `folder`/staged when it is done.
    While the files are those of the manifest, the written word is returned, and Snakemake finds
    the param unchanged. Else the word is a new one, made from the old and from what is on disk, so
    that the same damage done twice is seen twice.
    """
    try:
        word = (folder / STATE_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return "new"
    try:
        listed = read_json(folder / MANIFEST_FILE)["files"]
    except (KerneldefsError, TypeError, KeyError):
        return digest([word, "no manifest"])[:16]
    found = {name: _sha256(folder / "definitions" / name) for name in sorted(listed)}
    if all(found[name] == listed[name]["sha256"] for name in listed):
        return word
    return digest([word, found])[:16]


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "missing"


def file_digest(path: Path | None) -> str:
    """Return a digest of a file's content; "" for none or one that is not there."""
    return "" if path is None or not path.is_file() else _sha256(path)[:16]


def tree_state(folder: Path | None) -> str:
    """Return a digest of names, sizes and times of the JSON files below a folder ("" without one).

    For a dataset that may hold thousands of files: nothing is read.
    """
    if folder is None:
        return ""
    files = sorted((folder / "definitions").rglob("*.json"))
    stats = [(str(path.relative_to(folder)), path.stat()) for path in files]
    return digest([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])[:16]
