"""Add the staged definitions of finished runs to a clone of the dataset, and prepare pull requests.

    python scripts/publish.py results/kimi-k2-instruct --dataset ../flashinfer-trace --dry-run
    python scripts/publish.py results/kimi-k2-instruct --dataset ../flashinfer-trace

New files are added. Where the dataset has a kernel, under its name or another, its file only gets
the tags that it lacks. Where it has something else under the name, its file stays, and the
difference is shown. Then results/kimi-k2-instruct/handoff/ has a folder for each pull request.
Nothing is committed or pushed. A flashinfer-bench that can validate checks what was added.
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
    arguments.add_argument("models", nargs="+", type=Path, help="results folders, one a model")
    arguments.add_argument(
        "--dataset", type=Path, required=True, help="root of a clone of flashinfer-trace"
    )
    arguments.add_argument("--dry-run", action="store_true", help="say what would be done only")
    arguments.add_argument(
        "--pull-requests",
        choices=("definition", "op_type", "model"),
        default="definition",
        help="what one pull request adds (default: %(default)s, as the dataset's maintainers ask)",
    )
    return arguments


def main() -> int:
    """Publish, or say what would be; 0 also with conflicts, which are listed.

    1 where flashinfer-bench has an error in what was added, which then stays in the clone.
    """
    options = parser().parse_args()
    from kerneldefs.dataset import benchvalidate
    from kerneldefs.publish.handoff import write_handoff
    from kerneldefs.publish.plan import ADD, plan, write
    from kerneldefs.publish.text import plan_lines

    steps = plan(options.models, options.dataset)
    print("\n".join(plan_lines(steps, options.dataset, options.dry_run)))
    if options.dry_run:
        return 0
    write(steps, options.dataset)
    names = [step.name for step in steps if step.kind == ADD]
    if names and benchvalidate.available():
        wrong = benchvalidate.errors_in(options.dataset, names)
        print("\n".join(f"flashinfer-bench: {line}" for line in wrong or ["no errors"]))
        if wrong:
            return 1
    for folder in options.models:
        requests = write_handoff(steps, folder, options.dataset, options.pull_requests)
        if requests:
            print(
                f"{folder / 'handoff'}: {len(requests)} pull requests; README.md says how to go on"
            )
    return 0


if __name__ == "__main__":
    run(main)
