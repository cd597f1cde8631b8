"""Config classes for models whose own one comes with their repository and not with transformers.

SGLang knows such a model's class but asks transformers for its config, which without the
repository's code fails. A saved config.json holds every value in which the repository's class
differs from the base class, so the base class reads it as well; a value that SGLang asks for and
that is not there is refused by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerneldefs.files import read_json

# Defaults that the base class of transformers 4 had, which wrote these files and left them out.
_DEFAULTS: dict[str, Any] = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}


class _Fields(dict[str, Any]):
    """A part of a config whose own class, unknown here, gives its values as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def _with_fields(value: Any) -> Any:
    """The same value, the objects in its lists readable by attribute."""
    if isinstance(value, list):
        return [_with_fields(item) for item in value]
    if isinstance(value, dict):
        return _Fields({key: _with_fields(item) for key, item in value.items()})
    return value


def register(model: Path) -> str | None:
    """Make transformers read the config.json in `model`; returns what to say of it, if anything."""
    from sglang.srt.models.registry import ModelRegistry
    from transformers import AutoConfig, PretrainedConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = read_json(model / "config.json")
    kind = config.get("model_type")
    classes = set(config.get("architectures") or ()) & set(ModelRegistry.models)
    if not isinstance(kind, str) or kind in CONFIG_MAPPING or not classes or "auto_map" in config:
        return None

    class PlainConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
        model_type = kind

        def __init__(self, **values: Any) -> None:
            lists = {k: _with_fields(v) for k, v in values.items() if isinstance(v, list)}
            super().__init__(**{**_DEFAULTS, **values, **lists})

    AutoConfig.register(kind, PlainConfig)
    return f"transformers has no config class for model type {kind!r}; config.json is read as it is"
