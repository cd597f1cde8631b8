"""Small definitions and candidates directories for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerneldefs.definition.candidates import Candidate, Quarantined, Source
from kerneldefs.definition.normalise import Normalised, write_candidates

SOURCE = Source("flashinfer.norm.rmsnorm", "decode", "model.norm", "observed", 3)


def norm(
    hidden: int = 64, *tags: str, dtype: str = "bfloat16", eps: float = 1e-6
) -> dict[str, Any]:
    """Return a clean definition."""
    suffix = "" if eps == 1e-6 else f"_eps{eps:g}".replace("e-0", "e-")
    return {
        "name": f"rmsnorm_h{hidden}{suffix}",
        "description": "A norm.",
        "op_type": "rmsnorm",
        "tags": sorted({"status:unverified", *tags}),
        "axes": {
            "batch_size": {"type": "var"},
            "hidden_size": {"type": "const", "value": hidden},
        },
        "constraints": [],
        "inputs": {"x": {"shape": ["batch_size", "hidden_size"], "dtype": dtype}},
        "outputs": {"y": {"shape": ["batch_size", "hidden_size"], "dtype": dtype}},
        "reference": f"import torch\n\n\ndef run(x):\n    EPS = {eps}\n    return x + EPS\n",
    }


def sampling(vocabulary: int = 100) -> dict[str, Any]:
    """Return a clean definition of another op_type."""
    return {
        "name": f"top_k_top_p_sampling_v{vocabulary}",
        "description": "Sampling.",
        "op_type": "sampling",
        "tags": ["status:unverified"],
        "axes": {
            "batch_size": {"type": "var"},
            "vocab_size": {"type": "const", "value": vocabulary},
        },
        "constraints": [],
        "inputs": {"probs": {"shape": ["batch_size", "vocab_size"], "dtype": "float32"}},
        "outputs": {"samples": {"shape": ["batch_size"], "dtype": "int32"}},
        "reference": "def run(probs):\n    return probs.argmax(-1)\n",
    }


def candidates(
    folder: Path,
    config: str,
    *definitions: dict[str, Any],
    model: str = "m",
    quarantined: tuple[Quarantined, ...] = (),
    status: str = "captured",
    reason: str = "",
) -> Path:
    """Write a config's candidates directory and return it."""
    found = [Candidate(definition, ("run", "tags"), (SOURCE,)) for definition in definitions]
    index = {
        "config": config,
        "model": model,
        "capture": {"status": status, "reason": reason},
        "versions": {"sglang": "0.5.21"},
        "definitions": {
            candidate.name: {
                "op_type": candidate.definition["op_type"],
                "path": candidate.path,
                "repairs": list(candidate.repairs),
                "sources": [
                    {"op": s.op, "phase": s.phase, "layer": s.layer, "origin": s.origin, "count": 3}
                    for s in candidate.sources
                ],
            }
            for candidate in found
        },
        "not_definitions": [{"op": "flashinfer.x.plan", "count": 2, "why": "plans a run()"}],
    }
    write_candidates(Normalised(index, tuple(found), quarantined), folder / config)
    return folder / config


def tree(folder: Path) -> dict[str, bytes]:
    """Return the JSON files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.json"))}


def write_definition(folder: Path, definition: dict[str, Any], path: str | None = None) -> Path:
    """Write a definition where it belongs below a definitions folder, or elsewhere."""
    import json

    place = folder / (path or f"{definition['op_type']}/{definition['name']}.json")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(definition), encoding="utf-8")
    return place
