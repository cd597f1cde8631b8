"""What a staged tree was made from and with: enough to make it again years later.

Nothing here names a folder, a machine or a day, so that the same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import kerneldefs
from kerneldefs.capture.record import CAPTURE_FILE
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json
from kerneldefs.serving.settings import EMBEDDED

# What made a capture what it is, out of its capture.json.
_CAPTURE_KEYS = ("status", "backend", "versions", "layers", "arguments", "attention_backend")
# And out of the serving config that it was made of.
_CONFIG_KEYS = (
    *("repo_id", "revision", "model_config_sha256", "hardware", "arch"),
    *("tp", "dp", "ep", "enable_dp_attention", "trust_remote_code", "sources"),
)
_AT_COMMIT = re.compile(r"git\+(?P<url>.+)@(?P<commit>[0-9a-f]{40})")


def captures(configs: Path, dumps: Path, ids: Iterable[str]) -> dict[str, Any]:
    """Return by config id what each capture was made from and with.

    `configs` holds {id}.json, `dumps` a capture directory {id} per config that was captured.
    """
    found = {}
    for name in sorted(set(ids)):
        config = read_json(configs / f"{name}.json")
        path = dumps / name / CAPTURE_FILE
        summary = read_json(path) if path.exists() else {"status": "predicted"}
        found[name] = {key: config[key] for key in _CONFIG_KEYS if key in config}
        found[name] |= {key: summary[key] for key in _CAPTURE_KEYS if key in summary}
    return found


def made_by(cookbook: str, files: Path) -> dict[str, Any]:
    """Return this project's release and the cookbook's: its commit, and a digest of its files.

    `cookbook` is the setting, `files` the folder that it stands for. A folder's commit is that of
    the clone it belongs to, ending in -dirty where files were changed; None outside of a clone.
    """
    pinned = _AT_COMMIT.fullmatch(cookbook)
    if pinned:
        source, commit = pinned["url"], pinned["commit"]
    elif cookbook == EMBEDDED:
        source, commit = EMBEDDED, None
    else:
        source, commit = "directory", _commit_of(files)
    about = {"source": source, "commit": commit, "sha256": _digest(files)}
    return {"kerneldefs": kerneldefs.__version__, "cookbook": about}


def _commit_of(folder: Path) -> str | None:
    describe = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *describe],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _digest(folder: Path) -> str:
    """sha256 over the names and contents of a cookbook's YAML files."""
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*.yaml")):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise KerneldefsError(f"{path}: cannot be read ({error.strerror})") from None
        sha.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        sha.update(content)
    return sha.hexdigest()
