"""What publishing does, for a person to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from kerneldefs.publish.plan import ADD, CONFLICTS, SAME, UNITE, Step

_KINDS = (ADD, UNITE, SAME, CONFLICTS)


def plan_lines(steps: Sequence[Step], dataset: Path, dry_run: bool) -> Iterable[str]:
    """Return a line for each definition, conflicts last with the difference; then the numbers."""
    for step in sorted(steps, key=lambda step: _KINDS.index(step.kind)):
        yield f"{step.kind:<9} {step.model}: {_what(step)}"
        yield from (f"    {line}" for line in step.diff.splitlines())
    counts = ", ".join(f"{sum(s.kind == kind for s in steps)} {kind}" for kind in _KINDS)
    yield f"{dataset}: {counts}{'; nothing was written (--dry-run)' if dry_run else ''}"


def _what(step: Step) -> str:
    own = step.path.rsplit("/", 1)[-1] == f"{step.name}.json"
    name = step.path if own else f"{step.name}, in the dataset as {step.path}"
    if step.kind == UNITE:
        return f"{name}: {', '.join(step.tags)}"
    return f"{name}: {step.reason}" if step.reason else name
