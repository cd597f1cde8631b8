"""What a capture writes: a `KernelCall` a line, a `Template` per FlashInfer schema, a summary.

A capture directory:

    capture.json               status, versions, arguments, what was stubbed or guessed
    templates.json             {template key: Template} of every template that a call met
    rank0/calls.jsonl          every distinct call of that rank, with how often it was made
    rank0/flashinfer/*.json    FlashInfer's own dump, untouched
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.errors import KerneldefsError
from kerneldefs.files import canonical_json, read_json, write_text

CAPTURE_FILE = "capture.json"
CAPTURED, REFUSED, FAILED = "captured", "refused", "failed"  # its status
TEMPLATES_FILE = "templates.json"
CALLS_FILE = "calls.jsonl"
MAX_SIZE = 1 << 50  # elements: no tensor has so many, and no product of two overflows
DUMP_FOLDER = "flashinfer"


@dataclasses.dataclass(frozen=True)
class TensorFact:
    """What a call's tensor was: shape in elements, torch dtype name without `torch.`, strides."""

    shape: tuple[int, ...]
    dtype: str
    stride: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class KernelCall:
    """One distinct call of one op.

    `tensors` and `scalars` are keyed by the op's parameter names; the elements of a tuple argument
    are `name#0`, `name#1`. `plan` holds the bound arguments of the wrapper's last plan() (tensors
    as {"shape", "dtype", "stride"}), `state` the attributes that the wrapper's run() reads and
    that forward() may have overwritten since (causal, kv_layout, logits_soft_cap, window_left).
    """

    op: str  # e.g. "flashinfer.norm.rmsnorm"
    tensors: dict[str, TensorFact]
    scalars: dict[str, Any]  # None, bool, int, float or str; a dtype as "torch.bfloat16"
    outputs: tuple[TensorFact, ...]
    plan: dict[str, Any] | None
    state: dict[str, Any]
    phase: str  # the probe's step, e.g. "decode"
    layer: str  # module path with layer numbers as N; "" when unknown
    definition: str | None  # the name FlashInfer dumped it under; None when nothing was dumped
    template: str | None  # key into templates.json; None for an API without a template
    marks: tuple[str, ...]  # why the record is not beyond doubt, e.g. "output synthesised"
    origin: str = "observed"
    count: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> KernelCall:
        """Build from `to_json` data; raises ValueError, KeyError or TypeError for other data."""
        words = [data["op"], data["phase"], data["layer"]]
        words += [data[key] for key in ("definition", "template") if data[key] is not None]
        if not all(isinstance(word, str) for word in words):
            raise ValueError("a name is no text")
        return KernelCall(
            **{
                **data,
                "tensors": {k: _tensor(v) for k, v in data["tensors"].items()},
                "outputs": tuple(_tensor(v) for v in data["outputs"]),
                "marks": tuple(data["marks"]),
            }
        )


def _tensor(data: dict[str, Any]) -> TensorFact:
    """Build a fact from JSON data, which may come from elsewhere: sizes are sizes."""
    sizes = (*data["shape"], *data["stride"])
    if not all(type(size) is int and abs(size) < MAX_SIZE for size in sizes):
        raise ValueError(f"sizes of a tensor are {sizes!r:.60}")
    if not isinstance(data["dtype"], str):
        raise ValueError(f"dtype of a tensor is {data['dtype']!r:.60}")
    return TensorFact(tuple(data["shape"]), data["dtype"], tuple(data["stride"]))


@dataclasses.dataclass(frozen=True)
class Slot:
    """One declared input or output of a FlashInfer template.

    `dims` is None for a scalar. `param` is the API parameter that carries it (an output's: the
    buffer it is written to), `tuple_index` its place in a tuple argument.
    """

    dims: tuple[str, ...] | None
    dtype: str | None
    param: str | None
    tuple_index: int | None
    optional: bool
    dtype_from: str | None = None


@dataclasses.dataclass(frozen=True)
class Axis:
    """One declared axis: `abbrev` None means the axis name itself, "" leaves it out of the name."""

    const: bool
    abbrev: str | None
    value: int | None


@dataclasses.dataclass(frozen=True)
class Template:
    """The schema of one FlashInfer op, as its release declares it (flashinfer.trace.template)."""

    api: str
    op_type: str
    name_prefix: str | None
    module: str  # where the template's reference lives, for helpers to inline
    axes: dict[str, Axis]
    inputs: dict[str, Slot]
    outputs: dict[str, Slot]
    optional_params: tuple[str, ...]  # API parameters whose default is None
    has_reference: bool

    @staticmethod
    def from_json(data: dict[str, Any]) -> Template:
        """Build from plain JSON data."""
        return Template(
            **{
                **data,
                "axes": {k: Axis(**v) for k, v in data["axes"].items()},
                "inputs": {k: _slot(v) for k, v in data["inputs"].items()},
                "outputs": {k: _slot(v) for k, v in data["outputs"].items()},
                "optional_params": tuple(data["optional_params"]),
            }
        )


def _slot(data: dict[str, Any]) -> Slot:
    dims = data["dims"]
    return Slot(**{**data, "dims": None if dims is None else tuple(dims)})


def write_calls(path: Path, calls: Iterable[KernelCall]) -> None:
    """Write calls in a stable order, one canonical JSON object a line."""
    lines = sorted(canonical_json(call.to_json(), indent=None) for call in calls)
    write_text(path, "".join(line + "\n" for line in lines))


def read_calls(path: Path) -> list[KernelCall]:
    """Read `calls.jsonl`; a broken line is an error that names file and line."""
    calls = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KerneldefsError(f"{path}: cannot be read ({error}); run the capture again") from None
    for number, line in enumerate(lines, 1):
        try:
            calls.append(KernelCall.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise KerneldefsError(
                f"{path}:{number}: not a call record ({error}); run the capture again"
            ) from None
    return calls


def write_templates(path: Path, templates: Mapping[str, Template]) -> None:
    """Write `templates.json`: axes, inputs and outputs keep the order that names are built in."""
    data = {key: dataclasses.asdict(templates[key]) for key in sorted(templates)}
    write_text(path, json.dumps(data, indent=2) + "\n")


def read_templates(path: Path) -> dict[str, Template]:
    """Read `templates.json`; anything else in it is an error that names the file."""
    data = read_json(path)
    try:
        return {key: Template.from_json(value) for key, value in data.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise KerneldefsError(f"{path}: no templates ({error}); run the capture again") from None
