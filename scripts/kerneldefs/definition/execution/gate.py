"""The gate before staging: a candidate whose reference does not run as declared is quarantined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from kerneldefs.definition.draft import Draft
from kerneldefs.definition.execution.limits import Limits, Outcome
from kerneldefs.definition.execution.runner import run_references
from kerneldefs.errors import KerneldefsError

VERIFIED, UNVERIFIED = "status:verified", "status:unverified"


def outcomes_of(
    definitions: Sequence[Draft], cache: Path | None = None, limits: Limits | None = None
) -> list[Outcome]:
    """Return what became of each definition's reference.

    Raises KerneldefsError where the machine cannot confine what it does not trust: that says
    nothing about a reference, and nothing was run.
    """
    outcomes = run_references(definitions, cache, limits)
    for outcome in outcomes:
        if outcome.kind == "unconfined":
            raise KerneldefsError(f"{outcome.reason}; go on without running references")
    return outcomes


def why(outcome: Outcome) -> tuple[str, str]:
    """Return a quarantine's cause and reason for a reference that failed."""
    return (
        f"reference-{outcome.kind}",
        f"the reference does not run as declared: {outcome.reason}",
    )


def tagged(definition: Draft, outcome: Outcome) -> Draft:
    """Return a definition, tagged verified if it is; its other tags stay.

    So does another status: FlashInfer calls some of its functions experimental.
    """
    tags: Iterable[str] = definition["tags"]
    other = {tag for tag in tags if tag.startswith("status:")} - {UNVERIFIED}
    if outcome.verified and not other:
        tags = {VERIFIED, *tags} - {UNVERIFIED}
    return {**definition, "tags": sorted(tags)}
