"""The commands of a run that import for longer than they work: a worker's forks run them."""

from __future__ import annotations

import importlib
from pathlib import Path

from kerneldefs import cli
from kerneldefs.worker import Command, Worker

WORKER = Worker("kerneldefs.commands:commands")

# What their main() imports. None of it imports torch.
_MODULES = (
    "kerneldefs.dataset.benchvalidate",
    "kerneldefs.dataset.classes",
    "kerneldefs.dataset.findings",
    "kerneldefs.dataset.provenance",
    "kerneldefs.dataset.report",
    "kerneldefs.dataset.stage",
    "kerneldefs.dataset.table",
    "kerneldefs.dataset.upstream",
    "kerneldefs.definition.normalise",
    "kerneldefs.derive.catalogue",
    "kerneldefs.derive.derive",
    "kerneldefs.derive.source",
    "kerneldefs.page.index",
    "kerneldefs.page.render",
    "kerneldefs.serving.expected",
    "jsonschema",
)


def commands(argument: str, folder: Path) -> Command:
    """Import; return what runs a script of this project, [its path, its arguments...]."""
    for module in _MODULES:
        importlib.import_module(module)
    from kerneldefs.definition import bench

    bench.definition_model()
    return cli.run_script
