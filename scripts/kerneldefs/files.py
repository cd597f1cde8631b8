"""Writing and reading files: atomically, and the same bytes for the same content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kerneldefs.errors import KerneldefsError


def canonical_json(value: Any, *, indent: int | None = 2) -> str:
    """Serialise with sorted keys; ends in a newline when indented, so that files end in one."""
    text = json.dumps(value, sort_keys=True, indent=indent, ensure_ascii=False, allow_nan=False)
    return text + "\n" if indent is not None else text


def digest(value: Any) -> str:
    """sha256 of a JSON value's canonical form; the same for any key order."""
    return hashlib.sha256(canonical_json(value, indent=None).encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none of it: temporary name in the same folder, fsync, os.replace."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write canonical JSON atomically."""
    write_text(path, canonical_json(value))


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is an error that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KerneldefsError(f"{path}: no such file") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise KerneldefsError(
            f"{path}: not valid JSON ({error}); delete it and run again to make it anew"
        ) from None


@contextlib.contextmanager
def replaced_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory that takes `path`'s place on success and vanishes on failure.

    The old content stays until the new one is complete, so a crash never leaves half of either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        if path.exists():
            retired = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
            os.replace(path, retired / path.name)
            os.replace(temporary, path)
            shutil.rmtree(retired, ignore_errors=True)
        else:
            os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
