"""Cut a model's config.json for a capture that is not simulated: a process of its own, as a module.

How many layers hold one of every kind is told from the built model, and the pretended machine
builds a model of any size without weights. Arguments: serving config, model directory, result file.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from kerneldefs.capture.server import server_arguments
from kerneldefs.capture.simulate.pretence import pretence
from kerneldefs.capture.simulate.survey import cut_model
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import write_json
from kerneldefs.serving.config import ServingConfig


def main(config_file: Path, model: Path, out: Path) -> None:
    """Cut the config.json in `model` in place, and write what was kept."""
    config = ServingConfig.load(config_file)
    pretence(config.arch)
    from kerneldefs.capture.simulate import device, serve

    device.set_count(config.tp)
    arguments = server_arguments(config, model)
    cut, _ = cut_model(model, lambda: serve.load(arguments, config.tp))
    if cut.kinds is None:  # whole, a model may not fit on a GPU: somebody has to say how many
        serve.load(arguments, config.tp)  # fails as the survey did, and says why
        raise KerneldefsError(f"{config.id}: the pretended machine built no list of layers")
    write_json(out, dataclasses.asdict(cut))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
