"""A plan as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kerneldefs.files import canonical_json
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.expand import ModelPlan

_HEAD = ("config", "arch", "tp", "dp", "ep", "asked for by")


def plans_json(plans: Iterable[ModelPlan]) -> str:
    """Return the plans as canonical JSON, configs in full."""
    return canonical_json(
        [
            {
                "slug": plan.slug,
                "repo_id": plan.repo_id,
                "revision": plan.revision,
                "configs": [config.to_json() for config in plan.configs],
                "dropped": [vars(drop) for drop in plan.dropped],
            }
            for plan in plans
        ]
    )


def plans_text(plans: Sequence[ModelPlan]) -> str:
    """Return a table of configs for each model, its notes, and what was dropped."""
    count = sum(len(plan.configs) for plan in plans)
    lines = [line for plan in plans for line in [*_plan(plan), ""]]
    return "\n".join([*lines, f"{count} serving configs of {len(plans)} models", ""])


def _plan(plan: ModelPlan) -> list[str]:
    where = f"{plan.repo_id} at {plan.revision}" if plan.revision else plan.repo_id
    lines = [f"{plan.slug}  ({where})"]
    if plan.configs:
        lines += _columns([_HEAD, *map(_row, plan.configs)])
    notes = {note: [c.id for c in plan.configs if note in c.notes] for note in _notes(plan)}
    for note, ids in notes.items():
        whose = "all" if len(ids) == len(plan.configs) else ", ".join(ids)
        lines.append(f"  note: {note} ({whose})")
    for drop in plan.dropped:
        entry = " ".join(word for word in (drop.cookbook, drop.hardware, drop.entry) if word)
        lines.append(f"  dropped: {entry}: {drop.reason}")
    return lines


def _notes(plan: ModelPlan) -> list[str]:
    return list(dict.fromkeys(note for config in plan.configs for note in config.notes))


def _row(config: ServingConfig) -> tuple[str, ...]:
    sources = ", ".join(f"{source.hardware} {source.entry}" for source in config.sources)
    sizes = (str(config.tp), str(config.dp), str(config.ep))
    return (config.id, config.arch, *sizes, sources)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
