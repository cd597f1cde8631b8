"""Write a finished run's pages: one self-contained HTML file each, readable without a network.

    python scripts/page.py results/kimi-k2-instruct
    python scripts/page.py results/kimi-k2-instruct results/llama-3.1-8b --index results/index.html

The first writes results/kimi-k2-instruct/report.html: what each serving config calls, what became
of it, and for each definition the file, the calls and repairs that led to it, and its checks.
--index writes the table over several models instead; a model whose run is unfinished stands there
as well.
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
    arguments.add_argument("--out", type=Path, help="file to write; default: report.html beside")
    arguments.add_argument("--index", type=Path, metavar="FILE", help="write the table over models")
    return arguments


def main() -> int:
    """Write the page of each folder, or the index over them."""
    options = parser().parse_args()
    from kerneldefs.errors import KerneldefsError
    from kerneldefs.files import write_text
    from kerneldefs.page.index import summary_of
    from kerneldefs.page.render import index_page, report_page
    from kerneldefs.page.results import read_results

    if options.index:
        write_text(options.index, index_page([summary_of(folder) for folder in options.models]))
        print(f"{options.index}: {len(options.models)} models")
        return 0
    if options.out and len(options.models) > 1:
        raise KerneldefsError("--out names one file; leave it out to write a page for each model")
    for folder in options.models:
        out = options.out or folder / "report.html"
        write_text(out, report_page(read_results(folder)))
        print(out)
    return 0


if __name__ == "__main__":
    run(main, in_worker=True)
