"""What a definition was captured on: real hardware, which proves it, or the simulation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kerneldefs.capture.choice import ENGINE

PROVEN, SIMULATED = "proven", "simulated"
_DEDUCED = "origin:"  # starts the tag of what was derived or predicted, and never captured


def proof_of(
    tags: Iterable[str],
    sources: Mapping[str, list[dict[str, Any]]],
    captures: Mapping[str, dict[str, Any]],
    configs: Mapping[str, dict[str, Any]],
) -> dict[str, list[str]]:
    """Return where a definition was captured, as `proven` and `simulated`: architecture and tp.

    Empty for one that only follows from other calls. `sources` are its calls, `captures` the
    capture summaries and `configs` the serving configs, by config id.
    """
    found: dict[str, set[str]] = {}
    if any(str(tag).startswith(_DEDUCED) for tag in tags):
        return {}
    for config, calls in sources.items():
        if any(call["origin"] == "observed" for call in calls):
            real = captures.get(config, {}).get("backend") == ENGINE
            found.setdefault(PROVEN if real else SIMULATED, set()).add(
                _place(config, captures.get(config, {}), configs.get(config, {}))
            )
    return {how: sorted(found[how]) for how in sorted(found)}


def _place(config: str, capture: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    """Return e.g. `sm_90 TP8`, and the GPU's name where there was one."""
    hardware = capture.get("hardware") or {}
    arch = hardware.get("arch") or said.get("arch")
    gpu = f" ({hardware['gpu']})" if "gpu" in hardware else ""
    return f"{arch} TP{said.get('tp', 1)}{gpu}" if arch else config
