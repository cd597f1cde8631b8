"""Where the calls to derive from come from: a capture, or config.json's prediction."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from kerneldefs.capture.record import (
    CALLS_FILE,
    CAPTURE_FILE,
    CAPTURED,
    FAILED,
    KernelCall,
    read_calls,
)
from kerneldefs.derive.predict.inventory import predicted_calls
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.modelconfig import ModelConfig

OBSERVED, PREDICTED = "observed", "predicted"


@dataclasses.dataclass(frozen=True)
class Seen:
    """Calls, and the capture's own word: why they are predicted, and its releases."""

    calls: tuple[KernelCall, ...]
    origin: str
    reason: str
    versions: dict[str, Any]
    status: str


def seen_calls(config: ServingConfig, model: ModelConfig, capture: Path | None) -> Seen:
    """Return what a capture observed; what config.json predicts where there is none.

    A capture that was refused has observed nothing: its prediction carries the refusal. One that
    failed is a fault to mend, and its run fails: nothing is put in its place.
    """
    if capture is None:
        reason = "no capture was asked for"
        return Seen(tuple(predicted_calls(model, config)), PREDICTED, reason, {}, CAPTURED)
    summary = read_json(capture / CAPTURE_FILE)
    versions, status = summary.get("versions", {}), str(summary.get("status"))
    reason = str(summary.get("reason", ""))
    if status == FAILED:
        return Seen((), OBSERVED, reason, versions, status)
    if status != CAPTURED:
        return Seen(tuple(predicted_calls(model, config)), PREDICTED, reason, versions, status)
    files = sorted(capture.glob(f"rank*/{CALLS_FILE}"))
    if not files:
        raise KerneldefsError(f"{capture}: no rank*/{CALLS_FILE}; run the capture again")
    calls = tuple(call for path in files for call in read_calls(path))
    return Seen(calls, OBSERVED, "", versions, status)
