"""Bring the candidates of a model's configs together into one definitions tree.

One file per definition, with the tags of all configs that need it. Definitions of one name and
different content are kept apart: the first stays, the others are listed with the difference. The
manifest has every staged file's sha256 and size, and what was not staged and why.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kerneldefs.cli import run


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "candidates", nargs="+", type=Path, help="candidates directories of one model's configs"
    )
    arguments.add_argument("--model", required=True, help="model slug, e.g. kimi-k2-instruct")
    arguments.add_argument("--out", type=Path, required=True, help="definitions tree to write")
    arguments.add_argument(
        "--manifest",
        type=Path,
        required=True,
        help="manifest to write; changes.json stands beside",
    )
    arguments.add_argument(
        "--dataset", type=Path, help="flashinfer-trace dataset; what it has is not staged again"
    )
    arguments.add_argument(
        "--skip-existing",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="--no-skip-existing stages what the dataset has and reports the difference",
    )
    arguments.add_argument(
        "--op-types", default="", metavar="A,B", help="stage these op_types only; default: all"
    )
    arguments.add_argument(
        "--requests", type=Path, help="YAML with links of kernel requests by definition name"
    )
    arguments.add_argument("--upstream", type=Path, help="folder for drafts of issues")
    running = arguments.add_argument_group("running the references")
    running.add_argument(
        "--execute", action="store_true", help="quarantine what does not run as declared"
    )
    running.add_argument("--cache", type=Path, metavar="DIR", help="keep outcomes here")
    running.add_argument("--jobs", type=int, help="references at once (default: processors)")
    running.add_argument(
        "--processor-seconds", type=int, metavar="N", help="that each may take (default: 150)"
    )
    made = arguments.add_argument_group("what the manifest says it was made from")
    made.add_argument("--configs", type=Path, help="folder with the serving configs")
    made.add_argument("--dumps", type=Path, help="folder with the captures")
    made.add_argument("--cookbook", default="embedded", help="the cookbook setting")
    made.add_argument("--cookbook-files", type=Path, help="the folder that it stands for")
    return arguments


def main() -> int:
    """Stage; 0 also when nothing is left to stage, which the report then says."""
    options = parser().parse_args()
    from kerneldefs.dataset import classes, provenance
    from kerneldefs.dataset.existing import Dataset
    from kerneldefs.dataset.stage import executed, load_model, select, write_tree
    from kerneldefs.dataset.upstream import write_drafts
    from kerneldefs.definition.candidates import load_candidates
    from kerneldefs.definition.execution.limits import Limits

    dataset = Dataset(options.dataset) if options.dataset else None
    found = load_model(options.candidates, options.model)
    op_types = [word for word in options.op_types.split(",") if word]
    selection = select(found, dataset, options.skip_existing, op_types)
    if options.execute:
        given = {"jobs": options.jobs, "processor": options.processor_seconds}
        limits = Limits(**{name: value for name, value in given.items() if value})
        selection = executed(selection, options.cache, limits)
    requests = classes.read_requests(options.requests)
    selection = classes.classified(selection, classes.derived_facts(options.candidates), requests)
    made: dict[str, Any] = {}
    if options.cookbook_files:
        made |= provenance.made_by(options.cookbook, options.cookbook_files)
    if options.configs and options.dumps:
        ids = [folder.name for folder in options.candidates]
        made["captures"] = provenance.captures(options.configs, options.dumps, ids)
    if options.upstream:
        lost = [row for folder in options.candidates for row in load_candidates(folder)[2]]
        write_drafts(selection.staged, [row.to_json() for row in lost], options.upstream)
    counts = write_tree(selection, options.model, options.out, options.manifest, made)
    print(
        f"{options.model}: {len(selection.staged)} definitions staged ({counts['written']} written,"
        f" {counts['kept']} unchanged, {counts['removed']} removed), {len(selection.existing)} in"
        f" the dataset, {len(selection.filtered)} of other op_types,"
        f" {len(selection.quarantined)} quarantined"
    )
    return 0


if __name__ == "__main__":
    run(main, in_worker=True)
