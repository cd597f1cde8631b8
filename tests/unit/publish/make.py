"""A finished run's results folder, made small: two serving configs and a few definitions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from dataset.make import SOURCE, candidates
from kerneldefs.dataset.existing import Dataset
from kerneldefs.dataset.report import Inputs, build
from kerneldefs.dataset.stage import load_model, select, write_tree
from kerneldefs.definition.candidates import Quarantined
from kerneldefs.files import write_json
from kerneldefs.serving.config import ServingConfig, Source

CONFIGS = {"h200-tp8": 8, "h200-tp4": 4}
LOST = Quarantined("allreduce_h7", "reference-denied", "it is another operator", (SOURCE,))


def serving_config(name: str, model: str) -> ServingConfig:
    return ServingConfig(
        id=name, model=model, repo_id=f"somebody/{model.upper()}-1B", revision="bundled",
        model_config_sha256="ab" * 32, arch="sm_90", hardware="H200", gpus_per_node=8,
        tp=CONFIGS[name], dp=1, ep=1, enable_dp_attention=False, quantization="fp8",
        kv_cache_dtype="auto", page_size=None, attention_backend="flashinfer",
        moe_runner_backend=None, trust_remote_code=False, arguments={},
        sources=(Source("v1/m.yaml", "H200", "default"),), notes=("a note",),
    )  # fmt: skip


def results(
    folder: Path,
    *definitions: dict[str, Any],
    model: str = "m",
    dataset: Path | None = None,
    skip_existing: bool = True,
) -> Path:
    """Write results of a model whose two serving configs call these definitions; return them."""
    out = folder / model
    found = []
    for name in CONFIGS:
        found.append(
            candidates(out / "candidates", name, *definitions, model=model, quarantined=(LOST,))
        )
        write_json(out / f"configs/{name}.json", serving_config(name, model).to_json())
        summary = {
            "status": "captured", "reason": "", "backend": "simulate",
            "versions": {"sglang": "0.5.21", "flashinfer-python": "0.6.18"},
            "layers": {"kept": 2, "of": 30}, "arguments": {}, "guesses": {}, "warnings": [],
        }  # fmt: skip
        write_json(out / f"dumps/{name}/capture.json", summary)
        tsv = out / f"benchmarks/capture/{name}.tsv"
        tsv.parent.mkdir(parents=True, exist_ok=True)
        tsv.write_text("s\th:m:s\n4.50\t0:00:04\n")
    write_json(out / "dropped.json", [])
    selection = select(
        load_model(found, model), Dataset(dataset) if dataset else None, skip_existing
    )
    write_tree(selection, model, out / "definitions", out / "manifest.json")
    write_json(out / "report.json", build(inputs(out)))
    return out


def inputs(out: Path) -> Inputs:
    """Return where a results folder has what a report is built from."""
    return dataclasses.replace(
        Inputs(out / "definitions"),
        manifest=out / "manifest.json",
        candidates=out / "candidates",
        configs=out / "configs",
        dumps=out / "dumps",
        dropped=out / "dropped.json",
    )
