"""What a staging changed: the report of an upgrade of FlashInfer, or of anything else.

A tree carries the manifest that it was staged with, so the next staging knows what was there, made
with which releases. `changes.json` keeps the last staging that changed something, until another one
does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.definition.candidates import difference

CHANGES_FILE = "changes.json"
KINDS = ("added", "removed", "changed", "retagged")


def changes(
    before: Mapping[str, Any], folder: Path, after: Mapping[str, Any], texts: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return what differs between a tree in `folder`, with its manifest, and the one to stage.

    `texts` are the new files by path. None where nothing was staged before, or where neither files
    nor releases differ: that an upgrade changed no file is worth saying. A file that was damaged
    since it was staged counts as it was staged: it is not compared.
    """
    old, new = _files(before), _files(after)
    if not before or (old == new and releases(before) == releases(after)):
        return None
    edited = {path for path in set(old) & set(new) if old[path] != new[path]}
    rows = {path: _differences(folder / path, texts[path]) for path in sorted(edited)}
    return {
        "model": after.get("model"),
        "releases": {"before": releases(before), "after": releases(after)},
        "added": sorted(set(new) - set(old)),
        "removed": sorted(set(old) - set(new)),
        "changed": {path: found for path, found in rows.items() if found},
        "retagged": [path for path, found in rows.items() if not found],
    }


def _files(manifest: Mapping[str, Any]) -> dict[str, Any]:
    files = manifest.get("files")
    return files if isinstance(files, dict) else {}


def _differences(path: Path, text: str) -> list[str]:
    """Return where two files differ, tags apart; long values by their place alone."""
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        found = difference(_untagged(old), _untagged(json.loads(text)))
    except (OSError, ValueError, AttributeError):
        return ["the file was damaged before"]
    return [row.replace("(only in one)", "(added or removed)") for row in found]


def _untagged(definition: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in definition.items() if key != "tags"}


def releases(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the releases that a manifest's captures were made with, by distribution."""
    found: dict[str, set[str]] = {}
    for capture in manifest.get("captures", {}).values():
        for name, version in capture.get("versions", {}).items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(versions) for name, versions in sorted(found.items())}


def changes_lines(found: Mapping[str, Any]) -> Iterable[str]:
    """Say what `changes` found, for a person to read."""
    before, after = found["releases"]["before"], found["releases"]["after"]
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            old, new = (", ".join(side.get(name, ["unknown"])) for side in (before, after))
            yield f"{name} {old} -> {new}"
    yield ", ".join(f"{len(found[kind])} {kind}" for kind in KINDS)
    for kind in ("added", "removed", "retagged"):
        yield from (f"{kind:<9} {path}" for path in found[kind])
    for path, rows in found["changed"].items():
        yield f"changed   {path}: {'; '.join(rows)}"
