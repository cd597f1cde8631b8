"""Check definitions, and report what a run staged, repaired, put aside and left out.

    python scripts/validate.py DATASET

checks any dataset, or folder of definitions, and exits 1 where one has an error. With the other
options it also writes the report of one model's run; the report is written before the exit.
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
    arguments.add_argument("definitions", type=Path, help="dataset, or its definitions folder")
    arguments.add_argument(
        "--op-types", default="", metavar="A,B", help="check these op_types only"
    )
    arguments.add_argument(
        "--definitions", dest="names", default="", metavar="A,B", help="check these names only"
    )
    arguments.add_argument("--json", action="store_true", help="print the report as JSON")
    arguments.add_argument(
        "--execute", action="store_true", help="run the references of files without errors too"
    )
    arguments.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep what running them gave here"
    )
    arguments.add_argument(
        "--bench",
        action="store_true",
        help="ask flashinfer-bench validate too (needs a release that has it; unproven)",
    )
    report = arguments.add_argument_group("report of a run")
    report.add_argument("--report-json", type=Path, metavar="FILE", help="write the report here")
    report.add_argument("--report-txt", type=Path, metavar="FILE", help="and for people here")
    report.add_argument("--manifest", type=Path, help="manifest that staging wrote")
    report.add_argument("--candidates", type=Path, help="folder with each config's candidates")
    report.add_argument("--templates", type=Path, help="catalogue of FlashInfer's templates")
    report.add_argument("--derived", type=Path, help="folder with what was derived of each config")
    report.add_argument("--configs", type=Path, help="folder with the serving configs")
    report.add_argument("--dumps", type=Path, help="folder with the captures")
    report.add_argument(
        "--only", metavar="A,B", help="the run's configs; others in the folders are left over"
    )
    report.add_argument(
        "--why", nargs="*", default=[], metavar="ID=TEXT", help="why each config's backend captured"
    )
    report.add_argument("--dropped", type=Path, help="JSON list of dropped cookbook entries")
    return arguments


def main() -> int:
    """Check and report; 1 when a definition, or the run as a whole, has an error."""
    options = parser().parse_args()
    from kerneldefs.dataset.benchvalidate import validated
    from kerneldefs.dataset.findings import check_tree, execute
    from kerneldefs.dataset.report import Inputs, build
    from kerneldefs.dataset.table import as_text
    from kerneldefs.files import canonical_json, write_json, write_text

    op_types = [word for word in options.op_types.split(",") if word]
    names = [word for word in options.names.split(",") if word]
    inputs = Inputs(
        definitions=options.definitions,
        manifest=options.manifest,
        candidates=options.candidates,
        derived=options.derived,
        templates=options.templates,
        configs=options.configs,
        dumps=options.dumps,
        dropped=options.dropped,
        reasons=dict(word.split("=", 1) for word in options.why),
        only=None if options.only is None else tuple(options.only.split(",")),
    )
    if options.manifest and not options.definitions.exists():
        options.definitions.mkdir(parents=True)  # nothing was staged, which the report will say
    checked = check_tree(options.definitions, op_types, names)
    if options.bench:
        checked = validated(checked, options.definitions)
    if options.execute:
        checked = execute(checked, options.cache)
    report = build(inputs, checked)
    text = as_text(report)
    if options.report_json:
        write_json(options.report_json, report)
    if options.report_txt:
        write_text(options.report_txt, text)
    print(canonical_json(report) if options.json else text, end="")
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    run(main, in_worker=True)
