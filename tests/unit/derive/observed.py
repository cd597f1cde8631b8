"""Observed calls of real captures, as small as deriving from them allows.

Written by `python -m tests.unit.derive.observed CONFIG MODEL_CONFIG CAPTURE`, whose arguments are
those of scripts/capture.py. Of config.json only the sizes are kept.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Any

from kerneldefs.capture.record import CALLS_FILE, KernelCall, read_calls
from kerneldefs.derive.derive import OBSERVED
from kerneldefs.derive.equivalent import Options
from kerneldefs.derive.predict.inventory import inventory
from kerneldefs.files import write_json
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.modelconfig import ModelConfig, read_model_config

FOLDER = Path(__file__).parent / "captures"
_NO_SIZES = ("architectures", "auto_map", "transformers_version", "id2label", "eos_token_id")


@dataclasses.dataclass(frozen=True)
class Observed:
    """What one serving config of a model called."""

    config: ServingConfig
    model: ModelConfig
    calls: tuple[KernelCall, ...]
    release: str


def load(path: Path) -> Observed:
    """Read one of FOLDER."""
    data = json.loads(path.read_text())
    config = ServingConfig.from_json(data["config"])
    model = ModelConfig(path, config.repo_id, "test", data["model"], data["quantization"])
    calls = tuple(KernelCall.from_json(row) for row in data["calls"])
    return Observed(config, model, calls, data["sglang"])


def _least(calls: list[KernelCall]) -> list[dict[str, Any]]:
    """Keep the first call that leads to each definition or reason."""
    found: dict[tuple[str, str], KernelCall] = {}
    for call in calls:
        for row in inventory([call], Options()):
            found.setdefault((row.name, row.reason), call)
    kept = {id(call): call for call in found.values()}
    return [dataclasses.replace(call, count=1).to_json() for call in kept.values()]


def _without_layers(value: Any) -> Any:
    """Return a config with one layer of each kind that a mixed precision speaks of."""
    if not isinstance(value, dict):
        return value
    kept = {k: _without_layers(v) for k, v in value.items() if k not in _NO_SIZES}
    if "quantized_layers" in kept:
        kinds: dict[str, str] = {}
        for name in sorted(value["quantized_layers"]):
            kinds.setdefault(re.sub(r"\.\d+(?=\.)", ".N", name), name)
        kept["quantized_layers"] = {n: value["quantized_layers"][n] for n in kinds.values()}
    return kept


def main() -> None:
    """Write one file of FOLDER."""
    config_file, model_config, capture = map(Path, sys.argv[1:])
    config = ServingConfig.load(config_file)
    model = read_model_config(model_config, config.repo_id, config.revision)
    calls = read_calls(capture / "rank0" / CALLS_FILE)
    summary = json.loads((capture / "capture.json").read_text())
    data = {
        "config": config.to_json(),
        "model": _without_layers(model.data),
        "quantization": _without_layers(model.quant_data),
        "sglang": summary["versions"]["sglang"],
        "calls": _least([call for call in calls if call.op in OBSERVED]),
    }
    write_json(FOLDER / f"{config.model}.json", data)


if __name__ == "__main__":
    main()
