"""Names of serving configs: readable, the same on every run, never one name for two configs."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping

from kerneldefs.files import digest
from kerneldefs.serving.modelconfig import ModelConfig
from kerneldefs.serving.quantization import NONE
from kerneldefs.serving.settings import AUTO_BACKEND
from kerneldefs.serving.variants import Variant

MAX_LENGTH = 120  # it becomes a folder's name, and stands in job names
_SHORT = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def config_ids(hardware: Mapping[Variant, str], config: ModelConfig) -> dict[Variant, str]:
    """Name the variants of one model, e.g. `h200-tp8-ep4-fp8-flashinfer`.

    A name that two variants would share, or that is too long, ends in a digest of the variant.
    """
    names = {variant: _name(variant, name, config) for variant, name in hardware.items()}
    count = Counter(names.values())
    return {
        variant: name if count[name] == 1 and len(name) <= MAX_LENGTH else _marked(name, variant)
        for variant, name in names.items()
    }


def _marked(name: str, variant: Variant) -> str:
    return f"{name[: MAX_LENGTH - 9].rstrip('-')}-{digest(dataclasses.asdict(variant))[:8]}"


def _name(variant: Variant, hardware: str, config: ModelConfig) -> str:
    arguments = dict(variant.arguments)
    weights = arguments.pop("quantization", config.quantization)
    if weights == NONE:
        dtype = str(arguments.pop("dtype", config.dtype or AUTO_BACKEND))
        weights = _SHORT.get(dtype, dtype)
    parts = [hardware, f"tp{variant.tp}"]
    if variant.enable_dp_attention:
        parts.append(f"dp{variant.dp}")
    if variant.ep > 1:
        parts.append(f"ep{variant.ep}")
    parts += [weights, variant.attention_backend or AUTO_BACKEND]
    if variant.page_size is not None:
        parts.append(f"ps{variant.page_size}")
    if variant.kv_cache_dtype != "auto":
        parts.append(f"kv_{variant.kv_cache_dtype}")
    if variant.moe_runner_backend is not None:
        parts.append(f"moe_{variant.moe_runner_backend}")
    for field, value in arguments.items():
        parts.append(field if value is True else f"{field}_{value}")
    return "-".join(re.sub(r"[^a-z0-9_.]+", "_", str(part).lower()) for part in parts)
