"""torch.distributed as rank 0 of a world without other ranks: every collective is local."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d
from torch.testing._internal.distributed.fake_pg import FakeStore

from kerneldefs.capture.simulate.ledger import LEDGER

_LOCAL = (
    "_all_gather_base",
    "_reduce_scatter_base",
    "all_gather_into_tensor",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "barrier",
    "batch_isend_irecv",
    "broadcast",
    "broadcast_object_list",
    "gather",
    "irecv",
    "isend",
    "monitored_barrier",
    "recv",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor",
    "scatter",
    "send",
)


class _Done:
    """The handle of a collective that has nothing to wait for."""

    def wait(self, *args: Any, **kwargs: Any) -> bool:
        return True

    def is_completed(self) -> bool:
        return True


def _local(name: str) -> Callable[..., Any]:
    def collective(*args: Any, **kwargs: Any) -> Any:
        LEDGER.skip("collective", name)
        return _Done() if kwargs.get("async_op") else None

    return collective


def _all_gather_object(gathered: list[Any], value: Any, group: Any = None) -> None:
    LEDGER.skip("collective", "all_gather_object")
    gathered[:] = [value] * len(gathered)


def _all_gather(
    gathered: list[torch.Tensor], value: torch.Tensor, group: Any = None, async_op: bool = False
) -> _Done:
    LEDGER.skip("collective", "all_gather")
    for part in gathered:
        part.copy_(value)
    return _Done()


def install() -> None:
    """Replace process groups and collectives."""
    real_init, real_group = distributed_c10d.init_process_group, distributed_c10d.new_group

    def init_process_group(
        backend: Any = None, init_method: Any = None, world_size: int = -1, rank: int = -1, **_: Any
    ) -> None:
        real_init(backend="fake", store=FakeStore(), world_size=world_size, rank=rank)

    def new_group(ranks: Any = None, *args: Any, **kwargs: Any) -> Any:
        return real_group(ranks, backend="fake")

    replaced: dict[str, Callable[..., Any]] = {name: _local(name) for name in _LOCAL}
    replaced |= {
        "init_process_group": init_process_group,
        "new_group": new_group,
        "all_gather": _all_gather,
        "all_gather_object": _all_gather_object,
    }
    for name, function in replaced.items():
        setattr(dist, name, function)
        if hasattr(distributed_c10d, name):
            setattr(distributed_c10d, name, function)
