"""Capture what the serving engine calls for one serving config.

Writes FlashInfer's own dump, every call that was seen, and a summary into one directory. The
simulated backend runs SGLang's real model code on pretended CUDA tensors: no GPU, no weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kerneldefs.cli import run, waiting

if TYPE_CHECKING:
    from kerneldefs.capture.engine.backend import EngineOptions


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "config", type=Path, help="serving config JSON, as the expand stage writes it"
    )
    arguments.add_argument(
        "--model-config", type=Path, required=True, help="directory with the model's config.json"
    )
    arguments.add_argument("--out", type=Path, required=True, help="capture directory to write")
    arguments.add_argument(
        "--backend", default="simulate", help="simulate (default), or engine: this machine's GPUs"
    )
    arguments.add_argument(
        "--rank", type=int, default=0, help="simulate only: which rank to be (default 0)"
    )
    engine = arguments.add_argument_group("engine only")
    engine.add_argument(
        "--load-format",
        choices=["dummy", "auto"],
        default="dummy",
        help="dummy (default), or auto: the model's own weights",
    )
    engine.add_argument(
        "--fetched",
        type=Path,
        nargs="*",
        default=[],
        metavar="FILE",
        help="what fetch_for_gpus.py wrote; without it weights are beside the model's config.json",
    )
    engine.add_argument(
        "--limit", type=float, default=1800.0, help="seconds after which an engine is ended (1800)"
    )
    engine.add_argument(
        "--why", default="asked for", help="why the engine captures, for the report"
    )
    engine.add_argument(
        "--layers", type=int, help="leading layers to serve; default: those that differ"
    )
    return arguments


def _engine_options(options: argparse.Namespace) -> EngineOptions:
    from kerneldefs.capture.engine.backend import EngineOptions
    from kerneldefs.capture.engine.fetch import read_fetched

    fetched = read_fetched(options.fetched)
    weights = fetched.get("weights", options.model_config)
    return EngineOptions(
        weights if options.load_format == "auto" else None,
        fetched.get("cubins"),
        options.limit,
        options.layers,
        options.why,
    )


def main() -> int:
    """Capture, in this architecture's worker where the environment names an owner for one."""
    options = parser().parse_args()
    from kerneldefs.serving.config import ServingConfig
    from kerneldefs.worker import Worker

    arguments = [str(options.config), str(options.model_config), str(options.out), options.backend]
    config = ServingConfig.load(options.config)
    with waiting(f"capturing {config.id}"):
        if options.backend == "simulate" and options.rank == 0:
            code = Worker("kerneldefs.capture.run:captures", config.arch).run(arguments)
            if code is not None:
                return code
        from kerneldefs.capture.run import capture_file

        return capture_file(*arguments, _engine_options(options), options.rank)


if __name__ == "__main__":
    run(main)
