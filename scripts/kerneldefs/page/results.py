"""A model's results folder, read for the page: the report and what lies beside it."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

from kerneldefs.capture.record import DUMP_FOLDER
from kerneldefs.files import read_json

REPORT_FILE, MANIFEST_FILE = "report.json", "manifest.json"
# The rules whose time is shown for each serving config, in the order they run; the others that a
# model has once.
PER_CONFIG, PER_MODEL = ("capture", "normalise", "derive"), ("stage", "validate")

RELEASES = ("sglang", "flashinfer-python", "torch")  # those that decide what is captured


@dataclasses.dataclass(frozen=True)
class Results:
    """One model's run.

    `seconds` is how long a rule took, by (rule, config id; "" for a rule of the whole model).
    """

    folder: Path
    report: dict[str, Any]
    manifest: dict[str, Any]
    definitions: dict[str, dict[str, Any]]  # by name
    seconds: dict[tuple[str, str], float]

    @property
    def model(self) -> str:
        """Return the model's slug."""
        return str(self.report["model"] or self.folder.name)

    @property
    def made_from(self) -> list[str]:
        """Return the repositories whose config.json was read, and the releases that captured."""
        found = [
            f"{config['repo_id']} ({config['revision']})"
            for config in self.report["configs"].values()
        ]
        said = [c.get("versions", {}) for c in self.report["captures"].values()]
        found += [f"{name} {one[name]}" for name in RELEASES for one in said if name in one]
        return list(dict.fromkeys(found))

    def dumped(self, config: str, name: str) -> dict[str, Any] | None:
        """Return what FlashInfer dumped under a name for a config; None if it is gone."""
        for path in sorted((self.folder / "dumps" / config).glob(f"rank*/{DUMP_FOLDER}")):
            try:
                data = json.loads((path / f"{name}.json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            return data if isinstance(data, dict) else None
        return None


def read_results(folder: Path) -> Results:
    """Read a results folder, e.g. results/kimi-k2-instruct; its report.json must be there."""
    report = read_json(folder / REPORT_FILE)
    definitions = {}
    for item in report["definitions"]:
        path = folder / "definitions" / item["path"]
        if item["name"] and path.is_file():
            definitions[str(item["name"])] = read_json(path)
    return Results(
        folder=folder,
        report=report,
        manifest=read_json(folder / MANIFEST_FILE),
        definitions=definitions,
        seconds=_seconds(folder / "benchmarks", report["configs"]),
    )


def _seconds(folder: Path, configs: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Return how long each job took, as Snakemake's benchmark files have it."""
    jobs = [(rule, config, f"{rule}/{config}.tsv") for rule in PER_CONFIG for config in configs]
    jobs += [(rule, "", f"{rule}.tsv") for rule in PER_MODEL]
    found = {}
    for rule, config, name in jobs:
        if (folder / name).is_file():
            with (folder / name).open(encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream, delimiter="\t"))
            if rows:
                found[rule, config] = float(rows[-1]["s"])
    return found
