"""A definitions folder: `{op_type}/{name}.json` files, read without trusting their content."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_BYTES = 5_000_000  # the largest definition known has 60 kB


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file: its path below the folder, and its content or why it has none."""

    path: str
    content: Any
    problem: str | None = None


def read_tree(folder: Path) -> Iterator[Entry]:
    """Yield every JSON file below a definitions folder, sorted by path."""
    for path in sorted(folder.rglob("*.json")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue  # temporary files of a write that is going on
        yield read_entry(folder, path)


def read_entry(folder: Path, path: Path) -> Entry:
    """Read one file; an unreadable one is an entry with a problem, never an exception.

    A link out of the folder is not followed, and nothing of a huge file or of a pipe is read.
    """
    name = path.relative_to(folder).as_posix()
    if not name.isprintable():  # a name that is no UTF-8 could not be printed either
        return Entry(ascii(name)[1:-1], None, "a file name that cannot be printed; rename it")
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return Entry(name, None, "a link out of the folder; put the file itself here")
        if not path.is_file():
            return Entry(name, None, "no regular file; remove it")  # a pipe would be waited for
        if path.stat().st_size > MAX_BYTES:
            return Entry(name, None, f"larger than {MAX_BYTES} bytes, so no definition")
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, object_pairs_hook=_without_repeats)
        if "\\u" in text:
            json.dumps(content, ensure_ascii=False).encode()  # half a character cannot be written
        return Entry(name, content)
    except (OSError, ValueError, RuntimeError) as error:  # links in a circle, braces too deep
        return Entry(name, None, f"not valid JSON: {error}")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"the key {twice[0]} appears twice in one object")
    return data


def fingerprint(data: bytes) -> dict[str, Any]:
    """Return a file's sha256 and size, as a manifest lists them."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
