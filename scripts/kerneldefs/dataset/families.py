"""A table of op types by models, of what is predicted or of what finished runs staged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerneldefs.dataset.inventory import CAPTURED, DERIVED, EXISTING, FI_MISSING
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json

_LETTERS = {EXISTING: "E", CAPTURED: "C", DERIVED: "D", FI_MISSING: "M"}


def finished(results: Path) -> list[dict[str, Any]]:
    """Return what the manifests below a results directory say, as `model_inventory` says it.

    What has no definition is what the report names as quarantined, each name once. Raises
    KerneldefsError without a manifest.
    """
    found = []
    for path in sorted(results.glob("*/manifest.json")):
        data = read_json(path)
        report = read_json(path.with_name("report.json"))
        names = sorted({row["name"] for row in report["quarantined"]})
        found.append(
            {
                "model": data["model"],
                "definitions": [*data["definitions"].values(), *data["existing"]],
                "without": [{"reason": name} for name in names],
            }
        )
    if not found:
        raise KerneldefsError(
            f"{results}: holds no */manifest.json; give the results directory of a finished run"
        )
    return found


def as_markdown(models: list[dict[str, Any]]) -> str:
    """Return a table of op types by models: how many definitions there are of each class.

    `3C 2D+1` are three captured, two derived and one variant; the last row counts layers that no
    definition is known for.
    """
    types = sorted({row["op_type"] for model in models for row in model["definitions"]})
    header = ["op_type", *(model["model"] for model in models)]
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    for kind in types:
        cells = [_cell([r for r in m["definitions"] if r["op_type"] == kind]) for m in models]
        lines.append(f"| {' | '.join([kind, *cells])} |")
    totals = [str(len(model["definitions"])) for model in models]
    lines.append(f"| {' | '.join(['all', *totals])} |")
    gaps = [str(len(model["without"])) for model in models]
    lines.append(f"| {' | '.join(['no definition', *gaps])} |")
    return "\n".join(lines) + "\n"


def _cell(rows: list[dict[str, Any]]) -> str:
    parts = []
    for kind, letter in _LETTERS.items():
        plain = sum(row["class"] == kind and not row["variant"] for row in rows)
        variants = sum(row["class"] == kind and bool(row["variant"]) for row in rows)
        if plain or variants:
            parts.append(
                f"{plain or ''}{letter if plain else ''}{f'+{variants}' if variants else ''}"
            )
    return " ".join(parts)
