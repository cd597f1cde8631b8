"""Writing and reading files: atomically, and the same bytes for the same content."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from kerneldefs.errors import KerneldefsError

MAX_JSON = 200_000_000  # a report on a thousand configs has some 20 MB
_LOG_END = 65_536  # bytes of a log that are looked at


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
    remove_abandoned(path.parent, path.name)
    handle, temporary = tempfile.mkstemp(_NEW, f".{path.name}.", path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            _mark_in_use(handle)
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
    """Read a JSON file; a missing, broken or huge one is an error that names it."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError(f"larger than {MAX_JSON} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KerneldefsError(f"{path}: no such file") from None
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise KerneldefsError(
            f"{path}: not valid JSON ({error}); delete it, or of a config's capture or candidates "
            "the whole folder, and run again"
        ) from None


@contextlib.contextmanager
def replaced_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory that takes `path`'s place on success and vanishes on failure.

    The old content stays until the new one is complete, so a crash never leaves half of either.
    What a crash left of an earlier attempt is put right first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recover_directory(path)
    temporary = Path(tempfile.mkdtemp(_NEW, f".{path.name}.", path.parent))
    handle = os.open(temporary, os.O_RDONLY)
    try:
        _mark_in_use(handle)
        yield temporary
        os.chmod(temporary, 0o755)
        if path.exists():
            retired = Path(tempfile.mkdtemp(_OLD, f".{path.name}.", path.parent))
            os.replace(path, retired / path.name)
            os.replace(temporary, path)
            shutil.rmtree(retired, ignore_errors=True)
        else:
            os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        os.close(handle)


def lock(path: Path) -> IO[str]:
    """Take a lock that ends with this process; the file says who has it, for the next to read.

    Raises KerneldefsError where another process has it, or where the folder cannot be written. On a
    file system without locks everybody gets it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise KerneldefsError(
            f"{path.parent}: cannot be written ({error.strerror}); give results= a folder that can"
        ) from None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        who = stream.read().strip() or "another process"
        stream.close()
        raise KerneldefsError(
            f"{path.parent}: {who} is writing here; wait for its end, or give this run a results= "
            "of its own"
        ) from None
    except OSError:
        return stream
    stream.truncate(0)
    stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    stream.flush()
    return stream


# ---- what a killed process leaves behind

_NEW, _OLD = ".new", ".old"  # a temporary name is .{name}.{8 letters} and one of these
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}(\.new|\.old)")


def _mark_in_use(handle: int) -> None:
    """Lock a temporary file or directory for as long as it is open: the system frees a dead one's.

    On a file system without locks nothing is marked, and nothing of it counts as abandoned.
    """
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def recover_directory(path: Path) -> None:
    """Put right what killed writers of `path` left: the old content back, the unfinished away."""
    for retired in sorted(path.parent.glob(f".{glob.escape(path.name)}.*{_OLD}")):
        if not path.exists() and (retired / path.name).is_dir() and _abandoned(retired):
            os.replace(retired / path.name, path)
    remove_abandoned(path.parent, path.name)


def remove_abandoned(folder: Path, name: str | None = None) -> list[Path]:
    """Remove temporary files and directories (of one `name`) whose writer is gone; return them."""
    removed = []
    for entry in sorted(os.listdir(folder)) if folder.is_dir() else []:
        match = _TEMPORARY.fullmatch(entry)
        if match is None or name not in (None, match["name"]) or not _abandoned(folder / entry):
            continue
        path = folder / entry
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        removed.append(path)
    return removed


def _abandoned(path: Path) -> bool:
    """Whether no living process has marked a temporary path as in use."""
    if path.is_symlink():
        return False  # none of ours is a link
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def last_error(log: Path) -> str:
    """Return the last error that a log tells of, or its last line; never empty."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _LOG_END))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        text = ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it said nothing"])[-1]
