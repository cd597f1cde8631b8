"""The gate before staging: a candidate whose reference does not run as declared is quarantined."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from kerneldefs.definition.candidates import Candidate, Quarantined
from kerneldefs.definition.draft import Draft
from kerneldefs.definition.execution.limits import Limits, Outcome
from kerneldefs.definition.execution.runner import run_references
from kerneldefs.errors import KerneldefsError

VERIFIED, UNVERIFIED = "status:verified", "status:unverified"


def through(
    candidates: Sequence[Candidate], cache: Path | None = None, limits: Limits | None = None
) -> tuple[list[Candidate], list[Quarantined]]:
    """Run every candidate's reference; return those that passed, and the others with the reason.

    One that agreed with an independent implementation is tagged verified. Raises KerneldefsError
    where the machine cannot confine what it does not trust.
    """
    outcomes = run_references([candidate.definition for candidate in candidates], cache, limits)
    kept, lost = [], []
    for candidate, outcome in zip(candidates, outcomes, strict=True):
        require_confined(outcome)
        if outcome.passed:
            kept.append(dataclasses.replace(candidate, definition=tagged(candidate, outcome)))
        else:
            cause = f"reference-{outcome.kind}"
            reason = f"the reference does not run as declared: {outcome.reason}"
            lost.append(Quarantined(candidate.name, cause, reason, candidate.sources))
    return kept, lost


def require_confined(outcome: Outcome) -> None:
    """Raise where nothing was run for want of a fence: that says nothing about the reference."""
    if outcome.kind == "unconfined":
        raise KerneldefsError(f"{outcome.reason}; go on without running references")


def tagged(candidate: Candidate, outcome: Outcome) -> Draft:
    """Return the definition, tagged verified if it is; its other tags stay."""
    tags: Iterable[str] = candidate.definition["tags"]
    if outcome.verified:
        tags = {VERIFIED, *tags} - {UNVERIFIED}
    return {**candidate.definition, "tags": sorted(tags)}
