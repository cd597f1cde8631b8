"""Two captures of one serving config compared: is the simulation what a GPU would have shown?

Dumped definitions are compared by name and content. Calls are compared by what a definition can
depend on (op, types, scalars, plan, wrapper state, sizes that are constant in the template): how
many requests met in one batch is chance on a real engine, so counts and variable sizes are not.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kerneldefs.capture.ranks import differences, rank_folders
from kerneldefs.capture.record import (
    CALLS_FILE,
    CAPTURE_FILE,
    DUMP_FOLDER,
    KernelCall,
    read_calls,
)
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import canonical_json, read_json

# Scalars that say how the watching met a call and not what it computed: under inference mode a
# product arrives as `matmul`, elsewhere as the `mm` that it is made of.
_WATCHED = {"operator"}
# Arguments of plan() that are sizes of the batch or of the machine's buffers.
_BATCH = {"max_token_per_sequence", "max_sequence_kv", "non_blocking", "fixed_split_size"}


@dataclasses.dataclass(frozen=True)
class Parity:
    """What two captures have in common, and every difference as a sentence."""

    definitions: tuple[int, int]  # dumped by the first, by the second
    same: int  # of both, with the same content
    calls: tuple[int, int]  # kinds of calls
    same_calls: int
    differences: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether the two captures say the same."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {**dataclasses.asdict(self), "whole": self.whole}


def compare(one: Path, other: Path) -> Parity:
    """Compare two capture directories; a capture that is not complete is an error."""
    summaries = [_summary(path) for path in (one, other)]
    first, second = (_dumped(path) for path in (one, other))
    calls = [_calls(path) for path in (one, other)]
    found = [*_settings(*summaries), *_files(first, second), *_kinds(*calls)]
    return Parity(
        (len(first), len(second)),
        sum(first[name] == second.get(name) for name in first),
        (len(calls[0]), len(calls[1])),
        len(calls[0].keys() & calls[1].keys()),
        tuple(found),
    )


def _summary(capture: Path) -> dict[str, Any]:
    summary: dict[str, Any] = read_json(capture / CAPTURE_FILE)
    if summary.get("status") != "captured":
        raise KerneldefsError(
            f"{capture}: status is {summary.get('status')!r}, so there is nothing to compare; "
            "give two complete captures"
        )
    return summary


def _settings(one: dict[str, Any], other: dict[str, Any]) -> Iterable[str]:
    """Differences between the captures themselves: they may explain all others."""
    for package in ("sglang", "flashinfer-python", "sglang-kernel", "transformers"):
        versions = [summary.get("versions", {}).get(package) for summary in (one, other)]
        if versions[0] != versions[1]:
            yield f"releases differ: {package} {versions[0]} and {versions[1]}"
    backends = [summary.get("attention_backend") for summary in (one, other)]
    if backends[0] != backends[1]:
        yield f"attention backends differ: {backends[0]} and {backends[1]}"


def _dumped(capture: Path) -> dict[str, Any]:
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for folder in rank_folders(capture).values()
        for path in sorted((folder / DUMP_FOLDER).glob("*.json"))
    }


def _files(one: dict[str, Any], other: dict[str, Any]) -> Iterable[str]:
    for name in sorted({*one, *other}):
        if name not in other:
            yield f"{name}: dumped by the first only"
        elif name not in one:
            yield f"{name}: dumped by the second only"
        else:
            found = differences(one[name], other[name])
            if found:
                yield f"{name}: {'; '.join(found)}"


def _calls(capture: Path) -> dict[str, set[str]]:
    """Return the kinds of calls, each with the layers and phases it was seen in."""
    kinds: dict[str, set[str]] = {}
    for folder in rank_folders(capture).values():
        for call in read_calls(folder / CALLS_FILE):
            if not call.tensors:
                continue  # makes a workspace for later calls, which the simulation has no need of
            kinds.setdefault(kind_of(call), set()).add(f"{call.layer or '?'} in {call.phase}")
    return kinds


def kind_of(call: KernelCall) -> str:
    """Return what a definition made of the call can depend on, as text."""
    # An older recorder has no word for what a newer one says is None.
    scalars = {k: v for k, v in call.scalars.items() if k not in _WATCHED and v is not None}
    plan = {
        name: ("tensor", value["dtype"]) if isinstance(value, dict) else value
        for name, value in (call.plan or {}).items()
        if name not in _BATCH
    }
    tensors = {
        name: (fact.dtype, len(fact.shape), fact.shape[1:] if len(fact.shape) > 1 else ())
        for name, fact in call.tensors.items()
    }
    op = "matrix product" if call.op in ("torch.linear", "torch.matmul") else call.op
    parts = [op, call.definition, tensors, scalars, plan, call.state]
    return canonical_json(parts, indent=None)


def _kinds(one: dict[str, set[str]], other: dict[str, set[str]]) -> Iterable[str]:
    for text, mine, theirs in (("first", one, other), ("second", other, one)):
        for kind in sorted(mine.keys() - theirs.keys()):
            op, definition, tensors, scalars, *_ = json.loads(kind)
            what = f"{op} {definition or scalars.get('weight_name') or ''}".strip()
            seen = ", ".join(sorted(mine[kind])[:3])
            shown = canonical_json(tensors, indent=None)[:200]
            yield f"call seen by the {text} only: {what} ({seen}): {shown}"
