"""Make clean definitions of a capture: repair what FlashInfer dumped, quarantine what cannot be.

Every distinct call of the capture is repaired on its own evidence: the tensors it was given and
what plan() was told. Writes a candidates directory: definitions/, quarantine.json, index.json. A
capture that SGLang refused gives an empty one that says so.
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
    arguments.add_argument(
        "config", type=Path, help="serving config JSON, as the expand stage writes it"
    )
    arguments.add_argument("capture", type=Path, help="capture directory of that config")
    arguments.add_argument(
        "--model-config",
        type=Path,
        metavar="DIR",
        help="directory with the model's config.json, which const axes are held against",
    )
    arguments.add_argument("--out", type=Path, required=True, help="candidates directory to write")
    return arguments


def main() -> int:
    """Normalise; 0 also when everything was quarantined, which the report then says."""
    options = parser().parse_args()
    from kerneldefs.definition.normalise import normalise, write_candidates
    from kerneldefs.serving.config import ServingConfig
    from kerneldefs.serving.expected import expected
    from kerneldefs.serving.modelconfig import read_model_config

    config = ServingConfig.load(options.config)
    predicted = None
    if options.model_config:
        model = read_model_config(options.model_config, config.repo_id, config.revision)
        predicted = expected(model, config)
    result = normalise(config, options.capture, predicted)
    write_candidates(result, options.out)
    status = result.index["capture"]["status"]
    print(
        f"{config.id}: {status}, {len(result.candidates)} definitions, "
        f"{len(result.quarantined)} quarantined"
    )
    return 0


if __name__ == "__main__":
    run(main, in_worker=True)
