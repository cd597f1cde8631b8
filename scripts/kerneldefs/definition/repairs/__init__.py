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
    """One step: `cause` is the upstream defect that it mends, with file and release.

    `evidence` is what it needs beside the dump; where it is missing there is a quarantine.
    """

    id: str
    cause: str
    evidence: str
    apply: Callable[[Draft, Evidence], Draft]


_TEMPLATES = "flashinfer/trace/templates/ (0.6.18)"
_GEMM_AND_MOE = "flashinfer/trace/templates/gemm.py, moe.py (0.6.18)"
_IN_PLACE = "flashinfer/trace/templates/norm.py, rope.py, page.py (0.6.18)"
_MOE = "flashinfer/trace/templates/moe.py (0.6.18)"
_DUMPER = "flashinfer/trace/template.py (0.6.18)"
_ATTENTION = "flashinfer/trace/templates/attention.py (0.6.18)"

REPAIRS: tuple[Repair, ...] = (
    Repair(
        "extra-keys",
        f"{_DUMPER} writes check, init, param and optional, which the dataset's schema rejects",
        "nothing but the dump",
        shape.drop_extra_keys,
    ),
    Repair(
        "reference-replaced",
        f"{_TEMPLATES} hold references that compute another function than the call",
        "the template, and the attributes that run() read",
        text.replace_reference,
    ),
    Repair(
        "helpers",
        f"{_DUMPER} renders only the helpers that a reference lists",
        "the installed release, which must be the one that dumped",
        text.inline_helpers,
    ),
    Repair(
        "cache-layout",
        f"{_ATTENTION} declares one order of the KV cache's axes; callers choose kv_layout",
        "the cache's rank and strides, and plan()'s sizes",
        shape.order_cache_axes,
    ),
    Repair(
        "per-row-scalar",
        "flashinfer/trace/templates/sampling.py (0.6.18) declares scalars that are passed per row",
        "the tensor that was passed, and the number of rows",
        shape.shape_per_row_scalars,
    ),
    Repair(
        "const-axes",
        f"{_DUMPER} reads sizes by position, whatever the rank or layout, and none from plan()",
        "the shapes of the call's tensors, and plan()'s sizes",
        shape.set_const_axes,
    ),
    Repair(
        "undeclared-axes",
        f"{_GEMM_AND_MOE} use literal sizes and axes without declaring them",
        "the declared axes that they follow from",
        shape.declare_axes,
    ),
    Repair(
        "scratch-inputs",
        "flashinfer/trace/templates/attention.py, page.py (0.6.18) list workspaces and switches",
        "a list of workspaces and switches",
        inputs.dropping(inputs.is_scratch),
    ),
    Repair(
        "absent-inputs",
        f"{_DUMPER} lists optional inputs that were not passed, with dtype unknown",
        "that the call left them out, and that the reference can do without",
        inputs.dropping(inputs.is_absent),
    ),
    Repair(
        "axis-inputs",
        "flashinfer/trace/templates/moe.py, page.py (0.6.18) list scalars that repeat an axis",
        "the declared axes",
        inputs.dropping(inputs.is_axis),
    ),
    Repair(
        "flag-inputs",
        "flashinfer/trace/templates/rope.py, msa.py (0.6.18) list Python flags as inputs",
        "the value that was passed",
        inputs.dropping(inputs.is_flag),
    ),
    Repair(
        "ignored-inputs",
        f"{_MOE} lists scalars that its references do not take",
        "the value that was passed, which must change nothing",
        inputs.dropping(inputs.is_ignored),
    ),
    Repair(
        "input-dtypes",
        f"{_DUMPER} writes unknown for what plan() takes, and dtypes that the dataset lacks",
        "the dtypes of the call's tensors and of plan()'s",
        inputs.set_dtypes,
    ),
    Repair(
        "unreturned-outputs",
        "flashinfer/trace/templates/sampling.py, gdn.py (0.6.18) declare more than is returned",
        "what the reference returns, by its syntax tree",
        outputs.drop_unreturned,
    ),
    Repair(
        "output-dtypes",
        f"{_DUMPER} infers output dtypes from the first input that shares an axis",
        "the tensors that the call returned or wrote to",
        outputs.set_dtypes,
    ),
    Repair(
        "overlapping-outputs",
        f"{_IN_PLACE} give an output its input's name",
        "the names of the inputs",
        outputs.rename_overlapping,
    ),
    Repair(
        "epsilon",
        "flashinfer/trace/templates/norm.py (0.6.18) fixes epsilon at 1e-6 whatever was passed",
        "the call's epsilon",
        text.set_epsilon,
    ),
    Repair(
        "variant-description",
        f"{_TEMPLATES} know no mask, window, soft cap, filter order or layout",
        "the attributes that run() read, and the call's flags",
        text.describe_variants,
    ),
    Repair(
        "logical-weights",
        f"{_MOE} does not say that kernels take shuffled weights",
        "the call's use_shuffled_weight",
        text.describe_weights,
    ),
    Repair(
        "run",
        f"{_DUMPER} renders the reference under its own name and parameters, not as run(inputs)",
        "the reference's parameters, and a value for each that is no input",
        append_run,
    ),
    Repair(
        "unused-axes",
        f"{_TEMPLATES} declare axes of inputs that are not there",
        "the shapes of inputs and outputs",
        shape.drop_unused_axes,
    ),
    Repair(
        "output-axes",
        "flashinfer/trace/templates/quantize.py, msa.py (0.6.18) declare axes of outputs alone",
        "a const axis that tells the size",
        shape.fix_output_axes,
    ),
    Repair(
        "constraints",
        f"{_TEMPLATES} constrain by inputs that are not there",
        "the names of axes and inputs",
        text.drop_constraints,
    ),
    Repair(
        "missing-constraints",
        f"{_GEMM_AND_MOE} do not say which sizes belong together",
        "the scalars with which they hold",
        text.add_constraints,
    ),
    Repair(
        "tags",
        f"{_TEMPLATES} name private modules and call every definition verified",
        "the table of public modules and the vocabulary",
        text.set_tags,
    ),
    Repair(
        "name",
        f"{_DUMPER} builds the name from sizes that may be wrong, and leaves out missing ones",
        "the true axes, and the variants",
        text.set_name,
    ),
)
