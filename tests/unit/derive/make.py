"""Serving configs and predicted names of bundled models."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from kerneldefs.derive.equivalent import Options
from kerneldefs.derive.predict.inventory import Predicted, inventory, predicted_calls
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.modelconfig import read_model_config

ROOT = Path(__file__).resolve().parents[3]
MODELS = ROOT / "config" / "models"


def config(model: str, **changes: Any) -> ServingConfig:
    """Return a serving config of a bundled model."""
    source = read_model_config(MODELS / model, model, "bundled")
    plain = ServingConfig(
        id="test",
        model=model,
        repo_id=model,
        revision="bundled",
        model_config_sha256="",
        arch="sm_90",
        hardware="H200",
        gpus_per_node=8,
        tp=1,
        dp=1,
        ep=1,
        enable_dp_attention=False,
        quantization=source.quantization,
        kv_cache_dtype="auto",
        page_size=None,
        attention_backend="flashinfer",
        moe_runner_backend=None,
        trust_remote_code=False,
        arguments={},
        sources=(),
        notes=(),
    )
    return dataclasses.replace(plain, **changes)


def predicted(model: str, options: Options | None = None, **changes: Any) -> dict[str, Predicted]:
    """Return what is predicted for a bundled model, by name."""
    source = read_model_config(MODELS / model, model, "bundled")
    calls = predicted_calls(source, config(model, **changes))
    rows = inventory(calls, options or Options())
    return {row.name: row for row in rows if not row.reason}
