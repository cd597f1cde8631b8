"""Shapes of the plans that SGLang's compiled planner makes for compressed attention (DeepSeek V4).

Source: kernels/jit/csrc/deepseek_v4/c_plan.cuh (SGLang 0.5.21): one 16-byte row for every token
that completes a group of `ratio` tokens, one 8-byte row for every token whose state is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

_PLAN_BYTES, _WRITE_BYTES = 16, 8
_OVERLAPPING = 4  # the ratio whose groups reach into the one before


def _counts(
    lengths: torch.Tensor,
    extends: torch.Tensor,
    ratio: int,
    swa_page: int,
    ring: int,
    own_ring: bool,
) -> tuple[int, int]:
    """How many tokens of an extend batch complete a group, and how many are kept."""
    overlap = ratio == _OVERLAPPING
    window = ratio * (2 if overlap else 1)
    spare = ring - window + 2 if ring > window else 0  # kept for speculation's rollback
    complete = kept = 0
    for length, extend in zip(lengths.tolist(), extends.tolist(), strict=True):
        first_kept = min(
            length // ratio * ratio - (ratio if overlap else 0),
            length - spare,
        )
        for position in range(length - extend, length):
            complete += (position + 1) % ratio == 0
            at_page_end = overlap and not own_ring and position % swa_page >= swa_page - ratio
            kept += position >= first_kept or at_page_end
    return complete, kept


def _rows(count: int, width: int) -> torch.Tensor:
    return torch.empty((count, width), dtype=torch.uint8, device="cuda")


def prefill(
    requests: Any,
    tokens: Any,
    states: Any,
    lengths: torch.Tensor,
    extends: torch.Tensor,
    pinned: Any,
    query_tokens: int,
    ratio: int,
    swa_page: int,
    ring: int,
    own_ring: bool = False,
    padded: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The planner's two tensors: [complete, 16] and [kept, 8], padded to the batch if asked.

    Lengths on the GPU are padded too: counting them would wait for it.
    """
    complete = kept = query_tokens
    if not padded and not isinstance(lengths, FakeTensor):
        complete, kept = _counts(lengths, extends, ratio, swa_page, ring, own_ring)
    return _rows(complete, _PLAN_BYTES), _rows(kept, _WRITE_BYTES)


def decode(requests: torch.Tensor, *args: Any) -> torch.Tensor:
    """One row for every request [batch]."""
    return _rows(requests.shape[0], _PLAN_BYTES)


def take_tensors_as_they_are() -> None:
    """The planner's results come as DLPack capsules, which pretended tensors cannot be."""
    real = torch.from_dlpack

    def from_dlpack(value: Any, *args: Any, **kwargs: Any) -> Any:
        return value if isinstance(value, torch.Tensor) else real(value, *args, **kwargs)

    torch.from_dlpack = from_dlpack
