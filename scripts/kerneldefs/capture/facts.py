"""Tensors, arguments and templates as the plain data of a capture record."""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections.abc import Iterator
from typing import Any

import torch

from kerneldefs.capture.record import Axis, Slot, Template, TensorFact


def tensor_fact(tensor: torch.Tensor) -> TensorFact:
    """Return a tensor's shape, dtype and strides."""
    return TensorFact(
        tuple(int(n) for n in tensor.shape),
        str(tensor.dtype).removeprefix("torch."),
        tuple(int(n) for n in tensor.stride()),
    )


def scalar(value: Any) -> Any:
    """Return a JSON value for an argument that is no tensor; objects become their class's name."""
    if isinstance(value, enum.Enum):
        return value.value if isinstance(value.value, (int, str)) else value.name
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, torch.dtype):
        return str(value)  # "torch.bfloat16", apart from an argument that is the text "bfloat16"
    return f"<{type(value).__name__}>"


def flattened(arguments: dict[str, Any], signature: inspect.Signature) -> Iterator[tuple[str, Any]]:
    """Yield arguments by name; `**kwargs` by their own names, tuple elements as name#index."""
    for name, value in arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            items = list(value.items())
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            items = [(name, tuple(value))]
        else:
            items = [(name, value)]
        for key, item in items:
            if isinstance(item, (tuple, list)):
                yield from ((f"{key}#{i}", element) for i, element in enumerate(item))
            else:
                yield key, item


def plan_facts(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return plan()'s arguments as JSON data, the elements of a list of tensors as name#index."""
    facts: dict[str, Any] = {}
    for name, value in _elements({**arguments, **(arguments.get("kwargs") or {})}):
        if name == "kwargs":
            continue
        if isinstance(value, torch.Tensor):
            facts[name] = dataclasses.asdict(tensor_fact(value))
        else:
            facts[name] = scalar(value)
    return facts


def _elements(arguments: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in arguments.items():
        if isinstance(value, (list, tuple)) and all(isinstance(v, torch.Tensor) for v in value):
            yield from ((f"{name}#{i}", element) for i, element in enumerate(value))
        else:
            yield name, value


def describe(template: Any, api: str, signature: inspect.Signature) -> Template:
    """Return the schema of a FlashInfer TraceTemplate as plain data."""
    from flashinfer.trace.template import Const

    def slot(descriptor: Any) -> Slot:
        dims = getattr(descriptor, "dim_names", None)
        return Slot(
            dims=None if dims is None else tuple(dims),
            dtype=descriptor.dtype,
            param=getattr(descriptor, "param", None),
            tuple_index=getattr(descriptor, "tuple_idx", None),
            optional=bool(getattr(descriptor, "optional", False)),
            dtype_from=getattr(descriptor, "dtype_from", None),
        )

    def axis(marker: Any) -> Axis:
        if not isinstance(marker, Const):
            return Axis(const=False, abbrev=None, value=None)
        return Axis(const=True, abbrev=marker.abbrev, value=getattr(marker, "value", None))

    reference = template.reference
    return Template(
        api=api,
        op_type=template.op_type,
        name_prefix=template.name_prefix,
        module=getattr(reference, "__module__", "") or "",
        axes={name: axis(marker) for name, marker in template.axes.items()},
        inputs={name: slot(descriptor) for name, descriptor in template.inputs.items()},
        outputs={name: slot(descriptor) for name, descriptor in template.outputs.items()},
        optional_params=tuple(p.name for p in signature.parameters.values() if p.default is None),
        has_reference=reference is not None,
    )
