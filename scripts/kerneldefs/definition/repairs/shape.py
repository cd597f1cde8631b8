"""Repairs of axes and shapes: every size is what the call's tensors and plan() said."""

from __future__ import annotations

import math
import re
from typing import Any

from kerneldefs.definition.draft import (
    AXIS_KEYS,
    KEYS,
    TENSOR_KEYS,
    Draft,
    Quarantine,
    const_axes,
    copied,
    used_axes,
)
from kerneldefs.definition.evidence import Evidence, axis_values

# Scalars that the API also takes as one value per row.
PER_ROW = {"min_p": "batch_size", "temperature": "batch_size", "top_k": "batch_size"}
PER_ROW["top_p"] = "batch_size"

_DERIVED = re.compile(r"(?P<base>\w+?)_(?P<how>div|mul)_(?P<factor>\w+)")


def drop_extra_keys(draft: Draft, evidence: Evidence) -> Draft:
    """Keep the keys that the dataset's schema knows."""
    kept = {key: draft[key] for key in KEYS if key in draft}
    kept["axes"] = {name: _only(axis, AXIS_KEYS) for name, axis in draft["axes"].items()}
    for side in ("inputs", "outputs"):
        kept[side] = {name: _only(spec, TENSOR_KEYS) for name, spec in draft[side].items()}
    kept.setdefault("tags", [])
    kept.setdefault("constraints", [])
    return copied(kept)


def _only(entry: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    kept = {key: entry[key] for key in keys if key in entry}
    if not kept.get("description"):
        kept.pop("description", None)
    return kept


def order_cache_axes(draft: Draft, evidence: Evidence) -> Draft:
    """Write the shape of a KV cache in the order of the call's memory layout."""
    result = copied(draft)
    for key, dims in evidence.dims.items():
        if key in result["inputs"]:
            result["inputs"][key]["shape"] = list(dims)
    return result


def shape_per_row_scalars(draft: Draft, evidence: Evidence) -> Draft:
    """Give a shape to a declared scalar that was passed as one value per row."""
    result = copied(draft)
    for key, spec in result["inputs"].items():
        tensor = evidence.of(key).tensor
        if spec["shape"] is not None or tensor is None:
            continue
        axis = PER_ROW.get(key)
        rows = axis_values(evidence).get(axis) if axis else None
        if axis is None and math.prod(tensor.shape) == 1:
            continue  # one value, whatever holds it
        if axis is None or tensor.shape != (rows,):
            raise Quarantine(
                "scalar-tensor",
                f"{key} is declared a scalar and was a tensor {list(tensor.shape)}",
            )
        spec["shape"] = [axis]
    return result


def set_const_axes(draft: Draft, evidence: Evidence) -> Draft:
    """Set every const axis to the size that the call shows."""
    result, seen = copied(draft), axis_values(evidence)
    for name, axis in result["axes"].items():
        if axis["type"] != "const":
            value = evidence.scalar(name)
            if name in OF_MODELS and name not in used_axes(draft) and isinstance(value, int):
                axis.update({"type": "const", "value": value})
            continue
        if name in seen:
            axis["value"] = seen[name]
        elif _is_needed(name, result, evidence):
            raise Quarantine("axis-value", f"nothing in the call tells the const axis {name}")
        axis.update({k: axis.pop(k) for k in AXIS_KEYS if k in axis})
    return result


def _is_needed(name: str, draft: Draft, evidence: Evidence) -> bool:
    axis = evidence.template.axes.get(name)
    if axis is None or not axis.const:
        return False  # declared or fixed by a repair, which derived its size
    return name in used_axes(draft) or axis.abbrev != ""


def declare_axes(draft: Draft, evidence: Evidence) -> Draft:
    """Declare axes that shapes use without declaring: literal sizes and `K_div_16`-like ones."""
    result, seen = copied(draft), axis_values(evidence)
    literal: dict[str, str] = {}
    for name in used_axes(result):
        if name in result["axes"]:
            continue
        if name.isdigit():
            literal[name] = f"dim_{name}"
            result["axes"][literal[name]] = {"type": "const", "value": int(name)}
        else:
            result["axes"][name] = _derived(name, result, seen)
    for spec in (*result["inputs"].values(), *result["outputs"].values()):
        if spec["shape"]:
            spec["shape"] = [literal.get(dim, dim) for dim in spec["shape"]]
    return result


# Axes of weights alone that templates use without declaring them: a model fixes their size
# (flashinfer/trace/templates/gemm.py, 0.6.18).
OF_MODELS = frozenset({"num_experts"})  # declared var, in no shape, and told by a scalar
OF_WEIGHTS = frozenset({"K_sf_div_4", "num_groups"})


def _derived(name: str, draft: Draft, seen: dict[str, int]) -> dict[str, Any]:
    match = _DERIVED.fullmatch(name)
    known = {**seen, **const_axes(draft)}
    if name in OF_WEIGHTS and name in seen:
        return {"type": "const", "value": seen[name]}
    if match:
        base = next((b for b in (match["base"], f"{match['base']}_size") if b in draft["axes"]), "")
        factor = (
            int(match["factor"]) if match["factor"].isdigit() else known.get(match["factor"], 0)
        )
        if base and draft["axes"][base]["type"] == "var":
            return {"type": "var"}
        if base and base in known and factor:
            value = known[base] * factor if match["how"] == "mul" else known[base] // factor
            if seen.get(name, value) == value:
                return {"type": "const", "value": value}
    raise Quarantine("undeclared-axis", f"a shape uses the axis {name}, which is not declared")


def drop_unused_axes(draft: Draft, evidence: Evidence) -> Draft:
    """Drop axes that no shape uses, except those that a name or constraint needs."""
    result, used = copied(draft), set(used_axes(draft))
    for name in list(result["axes"]):
        axis = result["axes"][name]
        if name not in used and (axis["type"] == "var" or axis.get("value") is None):
            del result["axes"][name]
    return result


# Prefix -> output axis -> the axis that it is part of, and how much the reference leaves out.
REST_OF: dict[str, dict[str, tuple[str, int]]] = {
    "cute_dsl_batch_mla_run": {"kv_lora_rank": ("head_dim_qk", 64)},
}


def fix_output_axes(draft: Draft, evidence: Evidence) -> Draft:
    """Fix the size of a var axis that only outputs have, where a const axis tells it.

    Nothing could bind it before a run otherwise, which is a quarantine.
    """
    result = copied(draft)
    inputs = {dim for spec in draft["inputs"].values() for dim in spec["shape"] or ()}
    for name in used_axes(draft):
        axis = result["axes"][name]
        if axis["type"] == "const" or name in inputs:
            continue
        rest = REST_OF.get(evidence.prefix, {}).get(name)
        if rest is not None:
            axis.update({"type": "const", "value": axis_values(evidence)[rest[0]] - rest[1]})
            result["axes"][name] = {key: axis[key] for key in AXIS_KEYS if key in axis}
            continue
        try:
            axis.update(_derived(name, draft, axis_values(evidence)))
        except Quarantine:
            axis["type"] = "var"
        if axis["type"] == "var":
            raise Quarantine("output-axis", f"the var axis {name} is in outputs only")
        result["axes"][name] = {key: axis[key] for key in AXIS_KEYS if key in axis}
    return result
