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
    base = type("PlainConfig", (PretrainedConfig,), {"model_type": kind, **_DEFAULTS})
    AutoConfig.register(kind, base)
    return f"transformers has no config class for model type {kind!r}; config.json is read as it is"
