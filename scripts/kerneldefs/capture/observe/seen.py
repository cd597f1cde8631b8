"""What a hook reads from one call of a layer, before it becomes a record."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from kerneldefs.capture.facts import scalar, tensor_fact
from kerneldefs.capture.record import TensorFact


@dataclasses.dataclass(frozen=True)
class Seen:
    """One observation: an op, its tensors by name and its scalars by name."""

    op: str
    tensors: Mapping[str, torch.Tensor | TensorFact | None]
    scalars: Mapping[str, Any]

    def facts(self) -> dict[str, TensorFact]:
        """Return the tensors as facts; what is no tensor is left out."""
        return {
            name: value if isinstance(value, TensorFact) else tensor_fact(value)
            for name, value in self.tensors.items()
            if isinstance(value, (torch.Tensor, TensorFact))
        }

    def plain(self) -> dict[str, Any]:
        """Return the scalars as JSON values."""
        return {name: scalar(value) for name, value in self.scalars.items()}


def dtype_name(dtype: torch.dtype) -> str:
    """Return a dtype's name without `torch.`."""
    return str(dtype).removeprefix("torch.")


def results(value: Any) -> Iterator[TensorFact]:
    """Yield the tensors that a layer returned, in order."""
    for item in value if isinstance(value, (tuple, list)) else [value]:
        if isinstance(item, torch.Tensor):
            yield tensor_fact(item)
