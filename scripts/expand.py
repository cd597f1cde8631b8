"""Show the serving configs that the settings ask for, where each comes from and what is dropped.

    python scripts/expand.py model=kimi-k2
    python scripts/expand.py model=kimi-k2 tp_list=4,8 hardware=H200
    python scripts/expand.py model=all cookbook=path/to/sgl-cookbook --json

KEY=VALUE words are the same as those of `snakemake --config`; config/README.md explains them.
Nothing is fetched: scripts/fetch.py does that.
"""

from __future__ import annotations

from kerneldefs.cli import run
from kerneldefs.serving.command import parse, settings_parser
from kerneldefs.serving.expand import plan_models
from kerneldefs.serving.table import plans_json, plans_text


def main() -> int:
    """Print the plan; exit 0 also where something was dropped, since the plan says so."""
    parser = settings_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options, settings = parse(parser)
    plans = plan_models(settings, may_fetch=False)
    print(plans_json(plans) if options.json else plans_text(plans), end="")
    return 0


if __name__ == "__main__":
    run(main)
