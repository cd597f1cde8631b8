"""Operators whose output's shape depends on values: exact where they are known, else a guess."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from kerneldefs.capture.simulate.ledger import LEDGER
from kerneldefs.capture.simulate.values import CUDA0, FAKE, pretended

aten = torch.ops.aten

VALUE_SHAPED = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
}


def exact_shape(func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """An operator whose output's shape depends on values, with the values at hand."""
    try:
        return tree_map_only(torch.Tensor, pretended, func(*args, **kwargs))
    except RuntimeError:  # values that a skipped kernel would have written
        return guess_shape(func, name, args, kwargs)


def guess_shape(func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """The largest shape that such an output can have; noted as a guess."""
    source = args[0]
    shape: tuple[int, ...]
    if func is aten.nonzero.default:
        shape, dtype = (source.numel(), source.dim()), torch.int64
    elif func is aten.masked_select.default:
        shape, dtype = (source.numel(),), source.dtype
    elif func is aten.repeat_interleave.Tensor:
        shape, dtype = (kwargs.get("output_size") or source.numel(),), torch.int64
    elif func in (aten.index.Tensor, aten._index_put_impl_.default):
        shape, dtype = tuple(source.shape), source.dtype
    else:
        raise NotImplementedError(f"{name}: its output's shape depends on values nobody knows")
    LEDGER.guess(f"shape of {name} {tuple(source.shape)}")
    with FAKE:
        return torch.zeros(shape, dtype=dtype, device=CUDA0)
