"""Cookbooks and model directories that the tests of this folder write for themselves."""

import json
from pathlib import Path
from typing import Any

import yaml
from kerneldefs.serving.expand import ModelPlan, plan_models
from kerneldefs.serving.settings import Settings

MOE = {"num_experts": 64, "num_attention_heads": 32, "torch_dtype": "bfloat16"}


def entry(name: str = "default", tp: int | None = 8, **engine: Any) -> dict[str, Any]:
    """One configuration of a cookbook; `quantization` is its label, the rest engine keys."""
    label = engine.pop("quantization", "bf16")
    return {
        "name": name,
        "attributes": {"nodes": "single", "quantization": label},
        "quantized_model_path": engine.pop("quantized_model_path", None),
        "engine": {"tp": tp, "dp": None, "ep": None, "extra_args": [], **engine},
    }


def model(name: str, path: str, hardware: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    """One model of a cookbook: entries by hardware name."""
    return {
        "name": name,
        "model_path": path,
        "attributes": attributes or {"llm": {}},
        "hardware": {key: {"configurations": entries} for key, entries in hardware.items()},
    }


def write_cookbook(root: Path, files: dict[str, list[dict[str, Any]]]) -> Path:
    """Write {"v0.5.6/name.yaml": models} in the layout of a cookbook."""
    for name, models in files.items():
        path = root / "data/models/generated" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = {"vendor": "v", "families": [{"name": "f", "models": models}]}
        path.write_text(yaml.safe_dump(data, sort_keys=False))
    return root


def write_model(folder: Path, config: dict[str, Any], quant: dict[str, Any] | None = None) -> Path:
    """Write a model directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if quant is not None:
        (folder / "hf_quant_config.json").write_text(json.dumps(quant))
    return folder


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def plans(**mapping: Any) -> list[ModelPlan]:
    """Plan without a network what the settings ask for."""
    return plan_models(Settings.from_mapping(mapping), may_fetch=False)


def ids(plan: ModelPlan) -> list[str]:
    """The ids of a plan's configs."""
    return [config.id for config in plan.configs]


def reasons(plan: ModelPlan) -> list[tuple[str, str, str]]:
    """Hardware, entry and reason of what a plan dropped."""
    return [(drop.hardware, drop.entry, drop.reason) for drop in plan.dropped]
