"""Fetch what planning needs - the cookbook and each model's config.json - into the cache.

With the cache filled, `snakemake -n` and the whole simulated workflow need no network.

    python scripts/fetch.py model=Qwen/Qwen3-8B
    python scripts/fetch.py model=all cookbook=path/to/sgl-cookbook results=results

KEY=VALUE words are the same as those of `snakemake --config`; config/README.md explains them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from kerneldefs.cli import run
from kerneldefs.serving.expand import plan_models
from kerneldefs.serving.settings import CONFIG_FILE, Settings


def main() -> int:
    """Fetch, and print where each model's config.json is; exit 1 if one could not be had."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings to change")
    parser.add_argument(
        "--config", type=Path, default=CONFIG_FILE, metavar="FILE", help="default: %(default)s"
    )
    options = parser.parse_intermixed_args()
    failed = 0
    for plan in plan_models(Settings.load(options.config, options.settings), may_fetch=True):
        if plan.revision:
            print(f"{plan.slug}: {plan.repo_id} at {plan.revision} in {plan.model_config}")
        for drop in plan.dropped:
            if not drop.entry:
                failed += 1
                print(f"{plan.slug}: FAILED: {drop.reason}")
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
