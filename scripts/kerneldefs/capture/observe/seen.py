"""What a hook reads from one call of a layer, before it becomes a record."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from kerneldefs.capture.facts import scalar, tensor_fact
from kerneldefs.capture.record import TensorFact

# Ops of the records that hooks write; the families below derive/ read them.
ACTIVATION = "sglang.activation"
ATTENTION = "sglang.attention"
FUSED_MOE = "sglang.fused_moe"
INDEXER = "sglang.sparse_indexer"
KV_APPEND = "sglang.kv_append"
LINEAR = "torch.linear"
LINEAR_ATTENTION = "sglang.linear_attention"
MATMUL = "torch.matmul"
NORM = "sglang.norm"
ROPE = "sglang.rotary_embedding"
SAMPLER = "sglang.sampler"
STATE_SPACE = "sglang.selective_state_update"


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


def contiguous(shape: tuple[int, ...], dtype: str) -> TensorFact:
    """Return the fact of a contiguous tensor of a shape, in elements."""
    stride, strides = 1, []
    for size in reversed(shape):
        strides.append(stride)
        stride *= size
    return TensorFact(shape, dtype, tuple(reversed(strides)))


def results(value: Any) -> Iterator[TensorFact]:
    """Yield the tensors that a layer returned, in order."""
    for item in value if isinstance(value, (tuple, list)) else [value]:
        if isinstance(item, torch.Tensor):
            yield tensor_fact(item)
