"""Show which definitions a run would make, told from config.json: nothing is run or written.

    python scripts/inventory.py model=kimi-k2
    python scripts/inventory.py model=llama-3.1-8b tp_list=1,2 dataset=path/to/flashinfer-trace
    python scripts/inventory.py model=all --json
    python scripts/inventory.py --runs results   # what finished runs staged, as a table

KEY=VALUE words are those of `snakemake --config`; config/README.md explains them. A row a name:
`existing` where the dataset has a definition of that name, `captured` where SGLang calls FlashInfer
for it, `derived` where it calls something else that FlashInfer has a kernel for, `fi_missing` where
FlashInfer has none. The formulas know the published forms of layers; docs/derive.md says which.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from kerneldefs.cli import run
from kerneldefs.dataset.existing import Dataset
from kerneldefs.dataset.families import as_markdown, finished
from kerneldefs.dataset.inventory import as_text, model_inventory
from kerneldefs.serving.expand import plan_models
from kerneldefs.serving.settings import CONFIG_FILE, Settings


def main() -> int:
    """Print the inventory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings to change")
    parser.add_argument(
        "--config", type=Path, default=CONFIG_FILE, metavar="FILE", help="default: %(default)s"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print JSON instead")
    how.add_argument(
        "--table", action="store_true", help="print op types by models in Markdown instead"
    )
    how.add_argument(
        "--runs",
        type=Path,
        metavar="DIR",
        help="print the same table of what is staged below a results directory; no settings",
    )
    options = parser.parse_intermixed_args()
    if options.runs:
        if options.settings:
            parser.error("--runs takes no settings")
        print(as_markdown(finished(options.runs)), end="")
        return 0
    settings = Settings.load(options.config, options.settings)
    dataset = Dataset(settings.dataset) if settings.dataset else None
    plans = plan_models(settings, may_fetch=False)
    found = [model_inventory(plan, settings, dataset) for plan in plans]
    if options.json:
        print(json.dumps(found, indent=2))
    elif options.table:
        print(as_markdown(found), end="")
    else:
        print("\n".join(as_text(model) for model in found), end="")
    return 0


if __name__ == "__main__":
    run(main)
