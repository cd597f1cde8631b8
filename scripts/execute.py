"""Run the references of definitions, each in a confined process, and say what fails.

    python scripts/execute.py results/kimi-k2-instruct/definitions --cache .cache/references

Every reference is screened, given small valid inputs and run twice; it must return the declared
shapes and dtypes, finite numbers, the same both times, and leave its inputs alone. Where torch has
an operator of its own for it, both must agree. Exits 1 where one fails.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kerneldefs.cli import run


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "folders", type=Path, nargs="+", help="folders of {op_type}/{name}.json files"
    )
    arguments.add_argument("--cache", type=Path, help="keep outcomes here and do not run twice")
    arguments.add_argument("--jobs", type=int, help="references at once (default: processors)")
    arguments.add_argument("--json", action="store_true", help="print outcomes as JSON")
    return arguments


def main() -> int:
    """Run; 1 when a reference fails."""
    options = parser().parse_args()
    from kerneldefs.dataset.tree import read_tree
    from kerneldefs.definition.execution.limits import Limits
    from kerneldefs.definition.execution.runner import run_references
    from kerneldefs.definition.execution.table import as_text
    from kerneldefs.errors import KerneldefsError
    from kerneldefs.files import canonical_json

    entries = [entry for folder in options.folders for entry in read_tree(folder)]
    unread = [entry for entry in entries if not isinstance(entry.content, dict)]
    if unread or not entries:
        what = f"{unread[0].path}: {unread[0].problem or 'no object'}" if unread else "no JSON file"
        raise KerneldefsError(f"{what}; give folders of definitions that validate.py accepts")
    limits = Limits(jobs=options.jobs) if options.jobs else Limits()
    outcomes = run_references([entry.content for entry in entries], options.cache, limits)
    if options.json:
        pairs = zip(entries, outcomes, strict=True)
        print(canonical_json([{"path": e.path, **o.to_json()} for e, o in pairs]), end="")
    else:
        names = [entry.path.rpartition("/") for entry in entries]
        rows = zip(names, outcomes, strict=True)
        print(as_text([(folder, name, outcome) for (folder, _, name), outcome in rows]), end="")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    run(main)
