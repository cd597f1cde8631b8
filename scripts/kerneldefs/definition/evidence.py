"""What one call tells about each input of its template: the ground on which repairs stand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from kerneldefs.capture.record import KernelCall, Template, TensorFact
from kerneldefs.definition.draft import Quarantine

Scalar = bool | int | float | str | None


@dataclasses.dataclass(frozen=True)
class Received:
    """What one declared input received: a tensor, a scalar, or nothing (both None)."""

    tensor: TensorFact | None = None
    value: Scalar = None

    @property
    def absent(self) -> bool:
        """Whether the call left the input out."""
        return self.tensor is None and self.value is None


@dataclasses.dataclass(frozen=True)
class View:
    """How a call's arguments map to its template's inputs, where they do not do so by name.

    `received` overrides what a call of that parameter name passed. `dims` overrides a declared
    shape when the call's memory layout orders the same axes differently. `understood` names the
    call's further arguments and plan facts that the view has taken into account.
    """

    received: Mapping[str, Received] = dataclasses.field(default_factory=dict)
    dims: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    understood: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Evidence:
    """A call, the template it was dumped with, and what each of the template's inputs received."""

    call: KernelCall
    template: Template
    received: Mapping[str, Received]
    dims: Mapping[str, tuple[str, ...]]
    understood: frozenset[str]
    release: str | None = None  # FlashInfer's, of the capture

    def of(self, key: str) -> Received:
        """Return what an input received; an unknown key received nothing."""
        return self.received.get(key, Received())

    def param(self, key: str) -> str:
        """Return the API parameter that carries an input."""
        slot = self.template.inputs.get(key)
        return (slot.param if slot is not None else None) or key

    def dims_of(self, key: str) -> tuple[str, ...] | None:
        """Return the axes of an input in the order of the call's memory layout."""
        slot = self.template.inputs.get(key)
        return self.dims.get(key) or (slot.dims if slot is not None else None)

    def scalar(self, name: str) -> Scalar:
        """Return a scalar argument of the call, or of what its wrapper was made with, or None."""
        value: Scalar = self.call.scalars.get(name, self.call.state.get(name))
        return value

    @property
    def prefix(self) -> str:
        """Return the start of the template's definition names, which identifies the template."""
        return self.template.name_prefix or self.template.op_type

    @property
    def api(self) -> str:
        """Return the op without its modules, e.g. `BatchDecodeWithPagedKVCacheWrapper.run`."""
        return api_of(self.call.op)


def api_of(op: str) -> str:
    """Return an op's last part, or its class and method."""
    parts = op.split(".")
    return ".".join(parts[-2:]) if parts[-2:-1] and parts[-2][:1].isupper() else parts[-1]


def gather(call: KernelCall, template: Template, view: View | None = None) -> Evidence:
    """Return the evidence of a call: by parameter name, except where a view says otherwise."""
    view = view or View()
    received = {}
    for key, slot in template.inputs.items():
        name = slot.param or key
        if slot.tuple_index is not None:
            name = f"{name}#{slot.tuple_index}"
        received[key] = view.received.get(key) or Received(
            call.tensors.get(name), call.scalars.get(name, call.state.get(name))
        )
    return Evidence(call, template, received, dict(view.dims), view.understood)


def axis_values(evidence: Evidence) -> dict[str, int]:
    """Return the size of every axis that the call's tensors and scalars show.

    A tensor of another rank than declared, or two sizes for one axis, is a quarantine.
    """
    values: dict[str, int] = {}
    for name, axis in evidence.template.axes.items():
        scalar = evidence.scalar(evidence.param(name))
        if axis.value is not None:
            values[name] = axis.value
        elif axis.const and isinstance(scalar, int) and not isinstance(scalar, bool):
            values[name] = scalar
    for key in evidence.template.inputs:
        tensor, dims = evidence.of(key).tensor, evidence.dims_of(key)
        if tensor is None or dims is None:
            continue
        if len(tensor.shape) != len(dims):
            raise Quarantine(
                "rank",
                f"input {key} was {_shape(tensor)}, but the template declares {list(dims)}",
            )
        for dim, size in zip(dims, tensor.shape, strict=True):
            if values.setdefault(dim, size) != size:
                raise Quarantine(
                    "axis-conflict",
                    f"axis {dim} is {values[dim]} elsewhere, but {size} in input {key} "
                    f"{_shape(tensor)}",
                )
    return values


def _shape(tensor: TensorFact) -> str:
    return f"{list(tensor.shape)} {tensor.dtype}"
