"""Outcomes as people read them: counts by op_type, then what failed and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kerneldefs.definition.execution.limits import Outcome


def as_text(executed: Sequence[tuple[str, str, Outcome]]) -> str:
    """Return a table of (op_type, name, outcome): run, passed, verified; then the failures."""
    ran, passed, verified, scaled = (Counter[str]() for _ in range(4))
    for op_type, _, outcome in executed:
        ran[op_type] += 1
        passed[op_type] += outcome.passed
        verified[op_type] += outcome.verified
        scaled[op_type] += bool(outcome.scaled)
    lines = [f"{'op_type':<20} {'run':>5} {'passed':>7} {'verified':>9} {'scaled':>7}"]
    for name in [*sorted(ran), "all"]:
        columns = (ran, passed, verified, scaled)
        counts = [sum(c.values()) if name == "all" else c[name] for c in columns]
        lines.append(f"{name:<20} {counts[0]:>5} {counts[1]:>7} {counts[2]:>9} {counts[3]:>7}")
    failures = [item for item in executed if not item[2].passed]
    lines += [f"{name}: {o.kind}: {o.reason}{_scaled(o)}" for _, name, o in failures]
    return "\n".join(lines) + "\n"


def _scaled(outcome: Outcome) -> str:
    return f" (scaled: {', '.join(outcome.scaled)})" if outcome.scaled else ""
