"""Fetch what planning needs - the cookbook and each model's config.json - into the cache.

With the cache filled, `snakemake -n` and the whole simulated workflow need no network.

    python scripts/fetch.py model=Qwen/Qwen3-8B
    python scripts/fetch.py model=all cookbook=path/to/sgl-cookbook results=results

KEY=VALUE words are the same as those of `snakemake --config`; config/README.md explains them.
"""

from __future__ import annotations

from kerneldefs.cli import run
from kerneldefs.serving.command import parse, settings_parser
from kerneldefs.serving.expand import plan_models


def main() -> int:
    """Fetch, and print where each model's config.json is; exit 1 if one could not be had."""
    _, settings = parse(settings_parser(__doc__))
    failed = 0
    for plan in plan_models(settings, may_fetch=True):
        if plan.revision:
            print(f"{plan.slug}: {plan.repo_id} at {plan.revision} in {plan.model_config}")
        if plan.failure is not None:
            failed += 1
            print(f"{plan.slug}: FAILED: {plan.failure}")
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
