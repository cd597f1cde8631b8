"""Try every model on several architectures, and write the table of what was captured.

    python scripts/coverage.py config_sources=aiconfigurator-core cookbook=path/to/sgl-cookbook \\
        results=scratch/coverage --jobs 2

Everything is kept in the folder that `results` names, so that a run that was cut short goes on
where it was, and a second run tries only what depends on code or releases that changed.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from kerneldefs.capture.versions import installed_versions
from kerneldefs.cli import run
from kerneldefs.dataset.coverage import find_trials, outcome_of, run_trials
from kerneldefs.dataset.coveragetable import as_markdown
from kerneldefs.digests import code_digest
from kerneldefs.files import digest, write_text
from kerneldefs.serving.command import parse, settings_parser
from kerneldefs.serving.settings import ROOT, Settings

TABLE = ROOT / "docs/coverage.md"
DEFAULTS = ("model=all", "results=results/coverage")


def command(settings: Settings) -> str:
    """Return the command that makes the table, without what is this machine's alone."""
    if Path(settings.cookbook).is_dir():
        folder = f"path/to/{Path(settings.cookbook).resolve().name}"
        settings = dataclasses.replace(settings, cookbook=folder)
    words = [word for word in settings.words() if not word.startswith(("model=all", "results="))]
    return " ".join(["python scripts/coverage.py", *words])


def main() -> int:
    """Try and write; 0 also where captures failed, since the table says so."""
    parser = settings_parser(__doc__)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs/coverage.md", help="table to write"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="trials at a time")
    parser.add_argument("--archs", default="sm_90,sm_100", metavar="A,B", help="architectures")
    parser.add_argument(
        "--further",
        default="sm_80,sm_103,sm_120",
        metavar="A,B",
        help="architectures for a sample of the models and what the cookbook serves there",
    )
    parser.add_argument("--keep", action="store_true", help="keep older captures that ended well")
    parser.add_argument("--table-only", action="store_true", help="try nothing, write the table")
    options, settings = parse(parser, DEFAULTS)
    trials = find_trials(
        settings, options.archs.split(","), filter(None, options.further.split(","))
    )
    total = len(trials.trials)
    if not options.table_only:
        stamps = (digest([code_digest("capture"), installed_versions()]), code_digest("normalise"))
        done = run_trials(trials.trials, settings.results, stamps, options.jobs, keep=options.keep)
        for count, (trial, outcome) in enumerate(done, 1):
            words = outcome.reason or f"{sum(outcome.definitions.values())} definitions"
            where = f"{trial.repo_id} {trial.config.id}"
            print(f"{count} of at most {total}: {where}: {outcome.status}: {words}", flush=True)
    found = {
        place: outcome
        for place, trial in enumerate(trials.trials)
        if (outcome := outcome_of(trial, settings.results)) is not None
    }
    text = as_markdown(trials, found, command(settings))
    write_text(options.out, text)
    print(f"{options.out}: {len(found)} of {total} serving configs", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run(main)
