"""A model's config.json: read, asked for what planning needs, and copied for SGLang to read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kerneldefs.errors import KerneldefsError
from kerneldefs.files import write_text
from kerneldefs.serving.quantization import NONE, names_scheme_alone, quantization_of

CONFIG = "config.json"
QUANT_CONFIG = "hf_quant_config.json"
FLAT_SUFFIX = f"_{CONFIG}"  # of a file that stands for a directory: {org}--{name}_config.json
MAX_BYTES = 20_000_000
_EXPERT_COUNTS = (
    "n_routed_experts",
    "num_experts",
    "num_local_experts",
    "num_routed_experts",
    "moe_num_experts",
)
_NOT_LANGUAGE = ("vision", "audio", "quantization", "compression", "talker", "vit", "projector")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """One model's published config, read from `directory`, or from a file that stands for one.

    `revision` is a commit, "bundled", "local" or a package that brought the config.
    """

    directory: Path
    repo_id: str
    revision: str
    data: dict[str, Any]
    quant_data: dict[str, Any] | None

    @property
    def sha256(self) -> str:
        """sha256 of what config.json and hf_quant_config.json say, whatever their layout."""
        # json.dumps, not canonical_json: published configs hold Infinity (Mamba time step limits).
        text = json.dumps([self.data, self.quant_data], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def quantization(self) -> str:
        """How the published weights are quantized, e.g. "fp8", "nvfp4"; "none" if they are not."""
        return quantization_of(self._language_parts(), self.data, self.quant_data)

    @property
    def quantized_layers_unsaid(self) -> bool:
        """Whether only a cut-down hf_quant_config.json says that weights are quantized."""
        own = quantization_of(self._language_parts(), self.data, None)
        return own == NONE and self.quant_data is not None and names_scheme_alone(self.quant_data)

    @property
    def experts(self) -> int | None:
        """Number of routed experts; None for a dense model or one that names it otherwise."""
        for part in self._language_parts():
            for key in _EXPERT_COUNTS:
                value = part.get(key)
                if isinstance(value, int) and not isinstance(value, bool) and value > 1:
                    return value
        return None

    @property
    def mixture_of_experts(self) -> bool:
        """Whether any key of the language part speaks of experts."""
        return any(
            "expert" in key and value for p in self._language_parts() for key, value in p.items()
        )

    @property
    def dtype(self) -> str | None:
        """The data type that config.json names, e.g. "bfloat16"; None if it names none."""
        for part in self._language_parts():
            value = part.get("torch_dtype") or part.get("dtype")
            if isinstance(value, str):
                return value.removeprefix("torch.")
        return None

    @property
    def language(self) -> dict[str, Any]:
        """The part that describes the language model's layers: config.json or its text_config."""
        parts = self._language_parts()
        return next((part for part in parts if "num_attention_heads" in part), parts[0])

    def _language_parts(self) -> list[dict[str, Any]]:
        """config.json itself, then its sub-configs of the language model (text_config, ...)."""
        return [self.data, *_sub_configs(self.data)]


def _sub_configs(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict) and not any(word in key for word in _NOT_LANGUAGE):
            yield value
            yield from _sub_configs(value)


def read_model_config(source: Path, repo_id: str, revision: str) -> ModelConfig:
    """Read a directory that holds config.json, or a `{name}_config.json` that stands for one.

    The file's hf_quant_config.json is `{name}_hf_quant_config.json` beside it. A missing or broken
    config.json is an error, and so is a hf_quant_config.json that was cut down.
    """
    path, quant_path = source / CONFIG, source / QUANT_CONFIG
    if source.name.endswith(FLAT_SUFFIX) and source.is_file():
        path = source
        quant_path = source.with_name(source.name.removesuffix(CONFIG) + QUANT_CONFIG)
    if not path.is_file():
        raise KerneldefsError(
            f"{source}: holds no {CONFIG}; give a directory with a model's {CONFIG}, or a "
            f"repository id"
        )
    quant_data = _read_object(quant_path) if quant_path.is_file() else None
    config = ModelConfig(source, repo_id, revision, _read_object(path), quant_data)
    if config.quantized_layers_unsaid:
        raise KerneldefsError(
            f"{repo_id}: {QUANT_CONFIG} of {revision} says how weights are quantized and not "
            "which (no exclude_modules, no producer, both of which ModelOpt writes); give the "
            "published file"
        )
    return config


def _read_object(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_BYTES:
        raise KerneldefsError(f"{path}: larger than {MAX_BYTES} bytes, so no model config")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise KerneldefsError(f"{path}: nested too deeply") from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise KerneldefsError(
            f"{path}: not valid JSON ({error}); replace it by the model's own {path.name}"
        ) from None
    if not isinstance(data, dict):
        raise KerneldefsError(f"{path}: must hold a JSON object, found {type(data).__name__}")
    return data


def materialise(source: Path, target: Path, trust_remote_code: bool) -> None:
    """Write the model directory that SGLang reads: config.json and hf_quant_config.json.

    `auto_map`, which makes transformers run the repository's own code, is removed at every level
    unless `trust_remote_code`; then that code (*.py) is copied as well.
    """
    config = read_model_config(source, "", "")
    data = config.data if trust_remote_code else _without_auto_map(config.data)
    write_text(target / CONFIG, json.dumps(data, indent=2, sort_keys=True) + "\n")
    if config.quant_data is not None:
        text = json.dumps(config.quant_data, indent=2, sort_keys=True) + "\n"
        write_text(target / QUANT_CONFIG, text)
    for path in sorted(source.glob("*.py")) if trust_remote_code else []:
        shutil.copyfile(path, target / path.name)


def _without_auto_map(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_auto_map(v) for k, v in value.items() if k != "auto_map"}
    if isinstance(value, list):
        return [_without_auto_map(item) for item in value]
    return value


def remote_code_files(data: dict[str, Any]) -> set[str]:
    """Return the Python files that config.json's `auto_map` names, e.g. {"modeling_x.py"}."""
    auto_map = data.get("auto_map")
    names = auto_map.values() if isinstance(auto_map, dict) else ()
    modules = {str(name).partition(".")[0] for name in names if "--" not in str(name)}
    return {f"{module}.py" for module in modules if module.isidentifier()}
