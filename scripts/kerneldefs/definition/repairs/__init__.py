"""The repairs, in order: one row per known defect of what FlashInfer dumps.

Each repair is a pure function of draft and evidence, changes nothing where its defect is absent,
and does nothing more when applied again. Where evidence is missing it raises `Quarantine`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from kerneldefs.definition.binding import append_run
from kerneldefs.definition.draft import Draft
from kerneldefs.definition.evidence import Evidence
from kerneldefs.definition.repairs import inputs, outputs, shape, text


@dataclasses.dataclass(frozen=True)
class Repair:
    """One step: `cause` is the upstream defect that it mends, with file and release."""

    id: str
    cause: str
    apply: Callable[[Draft, Evidence], Draft]


_DUMPER = "flashinfer/trace/template.py (0.6.18)"
_ATTENTION = "flashinfer/trace/templates/attention.py (0.6.18)"

REPAIRS: tuple[Repair, ...] = (
    Repair(
        "extra-keys",
        f"{_DUMPER} writes check, init, param and optional, which the dataset's schema rejects",
        shape.drop_extra_keys,
    ),
    Repair(
        "reference-replaced",
        "the template's reference computes another function than the call",
        text.replace_reference,
    ),
    Repair(
        "helpers",
        f"{_DUMPER} renders only the helpers that a reference lists",
        text.inline_helpers,
    ),
    Repair(
        "cache-layout",
        f"{_ATTENTION} declares one order of the KV cache's axes; callers choose kv_layout",
        shape.order_cache_axes,
    ),
    Repair(
        "per-row-scalar",
        "flashinfer/trace/templates/sampling.py (0.6.18) declares scalars that are passed per row",
        shape.shape_per_row_scalars,
    ),
    Repair(
        "const-axes",
        f"{_DUMPER} reads sizes by position, whatever the rank or layout, and none from plan()",
        shape.set_const_axes,
    ),
    Repair(
        "undeclared-axes",
        "templates use literal sizes and derived axes without declaring them (0.6.18)",
        shape.declare_axes,
    ),
    Repair(
        "scratch-inputs",
        "templates list workspaces and switches, which no result depends on (0.6.18)",
        inputs.dropping(inputs.is_scratch),
    ),
    Repair(
        "absent-inputs",
        f"{_DUMPER} lists optional inputs that were not passed, with dtype unknown",
        inputs.dropping(inputs.is_absent),
    ),
    Repair(
        "axis-inputs",
        "templates list scalars that repeat an axis (0.6.18)",
        inputs.dropping(inputs.is_axis),
    ),
    Repair(
        "flag-inputs",
        "templates list Python flags as inputs (0.6.18)",
        inputs.dropping(inputs.is_flag),
    ),
    Repair(
        "ignored-inputs",
        "templates list scalars that their reference does not take (0.6.18)",
        inputs.dropping(inputs.is_ignored),
    ),
    Repair(
        "input-dtypes",
        f"{_DUMPER} writes unknown for what plan() takes, and dtypes that the dataset lacks",
        inputs.set_dtypes,
    ),
    Repair(
        "unreturned-outputs",
        "templates declare outputs that their reference does not return (0.6.18)",
        outputs.drop_unreturned,
    ),
    Repair(
        "output-dtypes",
        f"{_DUMPER} infers output dtypes from the first input that shares an axis",
        outputs.set_dtypes,
    ),
    Repair(
        "overlapping-outputs",
        "templates of in-place operators give an output its input's name (0.6.18)",
        outputs.rename_overlapping,
    ),
    Repair(
        "epsilon",
        "flashinfer/trace/templates/norm.py (0.6.18) fixes epsilon at 1e-6 whatever was passed",
        text.set_epsilon,
    ),
    Repair(
        "variant-description",
        "templates know no mask, window, soft cap, filter order or layout (0.6.18)",
        text.describe_variants,
    ),
    Repair(
        "logical-weights",
        "templates do not say that their kernels take shuffled weights (0.6.18)",
        text.describe_weights,
    ),
    Repair(
        "run",
        f"{_DUMPER} renders the reference under its own name and parameters, not as run(inputs)",
        append_run,
    ),
    Repair(
        "unused-axes",
        "templates declare axes of inputs that are not there (0.6.18)",
        shape.drop_unused_axes,
    ),
    Repair(
        "output-axes",
        "an axis of outputs alone cannot be bound before a run",
        shape.fix_output_axes,
    ),
    Repair(
        "constraints",
        "templates constrain by inputs that are not there (0.6.18)",
        text.drop_constraints,
    ),
    Repair(
        "missing-constraints",
        "templates do not say how long flat arrays of scales are, nor which sizes add up (0.6.18)",
        text.add_constraints,
    ),
    Repair(
        "tags",
        "templates name private modules and call every definition verified (0.6.18)",
        text.set_tags,
    ),
    Repair(
        "name",
        f"{_DUMPER} builds the name from sizes that may be wrong, and leaves out missing ones",
        text.set_name,
    ),
)
