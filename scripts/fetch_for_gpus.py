r"""Fetch what an engine capture needs and its job, which may be offline, does not fetch itself.

    python scripts/fetch_for_gpus.py cubins --out FILE
    python scripts/fetch_for_gpus.py weights --model-config DIR --repo-id ID --revision main \
      --out FILE

FILE says where it is, for `capture.py --fetched`. Run it with the interpreter that captures: the
cubins are those of its FlashInfer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kerneldefs.cli import run, waiting


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = arguments.add_subparsers(dest="what", required=True)
    cubins = what.add_parser("cubins", help="FlashInfer's precompiled kernels")
    weights = what.add_parser("weights", help="a model's weights, for load_format=auto")
    weights.add_argument("--model-config", type=Path, required=True, help="as capture.py's")
    weights.add_argument("--repo-id", required=True, help="the model's repository")
    weights.add_argument(
        "--revision", required=True, help="a commit; `local` for --model-config itself; else main"
    )
    for command in (cubins, weights):
        command.add_argument("--out", type=Path, required=True, help="JSON file to write")
    return arguments


def main() -> int:
    """Fetch, and write down where it is."""
    options = parser().parse_args()
    from kerneldefs.capture.engine.fetch import fetch_cubins, fetch_weights
    from kerneldefs.files import write_json

    with waiting(f"fetching {options.what}"):
        if options.what == "cubins":
            found = fetch_cubins()
        else:
            found = fetch_weights(options.model_config, options.repo_id, options.revision)
    write_json(options.out, found)
    print(f"{options.what}: {found[options.what] or 'the package flashinfer-cubin'}")
    return 0


if __name__ == "__main__":
    run(main)
