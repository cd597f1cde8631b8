"""Which FlashInfer APIs were called, and which definitions each was dumped as, or why none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kerneldefs.capture.record import KernelCall

_PLANNING = {"plan", "begin_forward"}


def _why_not_dumped(calls: list[KernelCall]) -> str | None:
    """Why an API was never dumped; None where it should have been."""
    if calls[0].op.rsplit(".", 1)[-1] in _PLANNING:
        return "plans: recorded with the run() calls that follow it"
    if all(call.template is None for call in calls):
        return "FlashInfer has no trace template for it"
    return None


def api_ledger(calls: Iterable[KernelCall]) -> dict[str, dict[str, Any]]:
    """Return {API: {"calls": how often, "definitions": dumped names, "why": why none}}."""
    by_api: dict[str, list[KernelCall]] = {}
    for call in calls:
        if call.op.startswith("flashinfer."):
            by_api.setdefault(call.op, []).append(call)
    ledger = {}
    for api, made in sorted(by_api.items()):
        names = sorted({call.definition for call in made if call.definition})
        why = "" if names else _why_not_dumped(made)
        ledger[api] = {"calls": sum(c.count for c in made), "definitions": names, "why": why}
    return ledger


def unexplained(ledger: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for every API that was called and neither dumped nor listed with a reason."""
    return [
        f"{api} was called and FlashInfer dumped nothing of it"
        for api, entry in ledger.items()
        if entry["why"] is None
    ]
