"""Make definitions of what a serving config calls without FlashInfer.

Reads the observed calls of a capture; without one, or where SGLang refused the config, the calls
that config.json predicts. Each becomes the FlashInfer call that does the same, and goes through the
repairs and checks of captured definitions. Writes a folder like a candidates directory.
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
    arguments.add_argument("config", type=Path, help="serving config JSON")
    arguments.add_argument(
        "--model-config", type=Path, required=True, help="directory with the model's config.json"
    )
    arguments.add_argument(
        "--templates", type=Path, required=True, help="what scripts/templates.py wrote"
    )
    arguments.add_argument("--capture", type=Path, help="capture directory; default: predict")
    arguments.add_argument("--out", type=Path, required=True, help="directory to write")
    arguments.add_argument(
        "--variants", default="page_size,sampling", metavar="A,B", help="default: %(default)s"
    )
    arguments.add_argument(
        "--page-sizes",
        default="1,64",
        metavar="A,B",
        help="of paged variants; default: %(default)s",
    )
    arguments.add_argument("--op-types", default="", metavar="A,B", help="default: all")
    return arguments


def main() -> int:
    """Derive; 0 also when nothing came of it, which the report then says."""
    options = parser().parse_args()
    from kerneldefs.definition.normalise import write_candidates
    from kerneldefs.derive.catalogue import read_catalogue
    from kerneldefs.derive.derive import derive
    from kerneldefs.derive.equivalent import Options
    from kerneldefs.derive.source import seen_calls
    from kerneldefs.serving.config import ServingConfig
    from kerneldefs.serving.expected import expected
    from kerneldefs.serving.modelconfig import read_model_config

    config = ServingConfig.load(options.config)
    model = read_model_config(options.model_config, config.repo_id, config.revision)
    seen = seen_calls(config, model, options.capture)
    wanted = Options(
        tuple(word for word in options.variants.split(",") if word not in ("", "none")),
        tuple(int(word) for word in options.page_sizes.split(",")),
    )
    result = derive(
        config,
        seen.calls,
        read_catalogue(options.templates),
        wanted,
        op_types=[word for word in options.op_types.split(",") if word],
        source=seen,
        predicted=expected(model, config),
    )
    write_candidates(result, options.out)
    print(
        f"{config.id}: {seen.origin} calls, {len(result.candidates)} definitions, "
        f"{len(result.quarantined)} quarantined"
    )
    return 0


if __name__ == "__main__":
    run(main, in_worker=True)
