"""The predicted definitions of a model over its serving configs, with what would become of each."""

from __future__ import annotations

from typing import Any

from kerneldefs.dataset.existing import Dataset
from kerneldefs.derive.equivalent import Options
from kerneldefs.derive.predict.inventory import Predicted, inventory, predicted_calls
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.expand import ModelPlan
from kerneldefs.serving.modelconfig import read_model_config
from kerneldefs.serving.settings import Settings

EXISTING, CAPTURED, DERIVED, FI_MISSING = "existing", "captured", "derived", "fi_missing"
# Families that SGLang calls FlashInfer for, whatever it serves.
_ALWAYS = frozenset({"rmsnorm", "sampling"})
_ATTENTION = frozenset({"gqa", "mla"})
_BLACKWELL = frozenset({"sm_100", "sm_103", "sm_120"})


def options_of(settings: Settings) -> Options:
    """Return what the settings say to derive."""
    variants = tuple(name for name in settings.variants if name != "none")
    return Options(variants, tuple(sorted({1, 64, *settings.page_sizes})))


def model_inventory(plan: ModelPlan, settings: Settings, dataset: Dataset | None) -> dict[str, Any]:
    """Return a model's predicted definitions, each with its class and configs, as JSON data."""
    rows: dict[str, dict[str, Any]] = {}
    gaps: dict[str, dict[str, Any]] = {}
    for config in plan.configs:
        model = read_model_config(plan.model_config, config.repo_id, config.revision)
        for item in inventory(predicted_calls(model, config), options_of(settings)):
            if settings.op_types and item.op_type not in settings.op_types and not item.reason:
                continue
            if item.reason:
                gap = gaps.setdefault(item.reason, {"reason": item.reason, "configs": []})
                gap["configs"].append(config.id)
                continue
            row = rows.setdefault(item.name, _row(item, dataset))
            row["configs"].append(config.id)
            if row["class"] == DERIVED and is_captured(item, config):
                row["class"] = CAPTURED
    return {
        "model": plan.slug,
        "configs": [config.id for config in plan.configs],
        "definitions": sorted(rows.values(), key=lambda row: (row["op_type"], row["name"])),
        "without": [gaps[reason] for reason in sorted(gaps)],
    }


def _row(item: Predicted, dataset: Dataset | None) -> dict[str, Any]:
    known = dataset.named(item.name) if dataset else None
    derived = DERIVED if item.api else FI_MISSING
    return {
        "name": item.name,
        "op_type": item.op_type,
        "family": item.family,
        "class": EXISTING if known else derived,
        "variant": item.variant,
        "dataset_name": known,
        "configs": [],
    }


def is_captured(item: Predicted, config: ServingConfig) -> bool:
    """Whether SGLang is expected to call FlashInfer for it: by backend and architecture."""
    if item.variant:
        return False
    if item.family in _ATTENTION:  # which prefills ragged keys; the paged ones are a cached prefix
        paged = item.name.startswith("gqa_paged_prefill") and "noncausal" not in item.name
        return config.attention_backend == "flashinfer" and not paged
    if item.family == "moe":
        return config.arch in _BLACKWELL and config.quantization != "none"
    return item.family in _ALWAYS


def as_text(found: dict[str, Any]) -> str:
    """Return one model's inventory for a person to read."""
    counts: dict[str, int] = {}
    for row in found["definitions"]:
        counts[row["class"]] = counts.get(row["class"], 0) + 1
    said = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    lines = [
        f"{found['model']}: {len(found['configs'])} serving configs, "
        f"{len(found['definitions'])} definitions predicted ({said or 'none'})"
    ]
    total = len(found["configs"])
    for row in found["definitions"]:
        variant = f" variant:{row['variant']}" if row["variant"] else ""
        alias = f" as {row['dataset_name']}" if row["dataset_name"] else ""
        where = f"{len(row['configs'])} of {total} configs"
        path = f"{row['op_type']}/{row['name']}"
        lines.append(f"  {row['class']:<10} {path}{alias}  ({where}{variant})")
    lines += [f"  no definition: {gap['reason']}" for gap in found["without"]]
    return "\n".join(lines) + "\n"
