"""Make a definition of every trace template of the installed FlashInfer, and say what comes of it.

    python scripts/sweep_templates.py --execute --out swept/

A call is made up for each template, from its own `init` where it has one, and goes through the same
repairs and checks as a captured one. Prints a line a template (clean, or the cause) and the counts.
Needs torch and FlashInfer, no GPU. Nothing of it is meant for a dataset: the sizes are no model's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kerneldefs.cli import run

MARKER = "<!-- Behind this line: python scripts/sweep_templates.py --execute --document -->"


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--execute", action="store_true", help="quarantine what fails to run")
    arguments.add_argument("--cache", type=Path, help="keep what was executed here")
    arguments.add_argument(
        "--document", type=Path, help="write the table behind this file's marker as well"
    )
    arguments.add_argument("--out", type=Path, help="write clean definitions and table.json here")
    return arguments


def main() -> int:
    """Sweep; 0 whatever comes of the templates."""
    options = parser().parse_args()
    from kerneldefs.capture.registry import template_calls
    from kerneldefs.definition import package
    from kerneldefs.definition.candidates import definition_text
    from kerneldefs.definition.execution.cache import torch_version
    from kerneldefs.definition.execution.runner import run_references
    from kerneldefs.definition.sweep import (
        as_markdown,
        as_text,
        sweep,
        with_agreement,
        with_execution,
        without_collisions,
    )
    from kerneldefs.files import replaced_directory, write_json, write_text

    release = package.installed_version()
    rows = without_collisions(
        sweep(c.api, c.prefix, c.has_reference, c.dumped, c.call, c.template, c.source, release)
        for c in template_calls()
    )
    if options.execute:
        clean = [row for row in rows if row.definition is not None]
        outcomes = run_references([row.definition or {} for row in clean], options.cache)
        judged = {
            id(row): with_agreement(row, outcome.agreement["against"] if outcome.verified else "")
            if outcome.passed
            else with_execution(row, outcome.kind, outcome.reason)
            for row, outcome in zip(clean, outcomes, strict=True)
        }
        rows = [judged.get(id(row), row) for row in rows]
    if options.document:
        text = options.document.read_text(encoding="utf-8")
        versions = f"FlashInfer {release}, torch {torch_version()}"
        head = text.partition(MARKER)[0]
        write_text(options.document, f"{head}{MARKER}\n\n{as_markdown(rows, versions)}")
    if options.out:
        with replaced_directory(options.out) as folder:
            for row in rows:
                if row.definition is not None:
                    path = f"{row.definition['op_type']}/{row.definition['name']}.json"
                    write_text(folder / "definitions" / path, definition_text(row.definition))
            write_json(folder / "table.json", [row.to_json() for row in rows])
    print(as_text(rows), end="")
    return 0


if __name__ == "__main__":
    run(main)
