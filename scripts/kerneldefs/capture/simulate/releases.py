"""What depends on the releases of SGLang and FlashInfer: chosen by version, an unknown one refused.

A pair stands here when captures ran with it and their dumps were looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import metadata
from typing import Any

from kerneldefs.errors import KerneldefsError


def _publish_to_context(one_batch: Any, server_args: Any, rank: int) -> None:
    """SGLang resolves its arguments itself and keeps them in a context of the process."""
    server_args.resolve_once()
    world_rank = one_batch.spawn_world_rank(server_args, tp_rank=rank, pp_rank=0)
    ranks = one_batch.SpawnRanks(world_rank=world_rank, gpu_id=0)
    one_batch.publish(server_args, role="scheduler", ranks=ranks)
    one_batch.initialize_moe_config()
    one_batch.initialize_fp8_gemm_config()
    one_batch.initialize_fp4_gemm_config()


def _publish_to_global(one_batch: Any, server_args: Any, rank: int) -> None:
    """SGLang resolves its arguments when they are made and keeps them in a global."""
    from sglang.kernels.ops.mamba.triton_ops import initialize_mamba_selective_state_update_backend
    from sglang.srt.server_args import set_global_server_args_for_scheduler

    set_global_server_args_for_scheduler(server_args)
    one_batch.initialize_moe_config(server_args)
    one_batch.initialize_fp8_gemm_config(server_args)
    one_batch.initialize_fp4_gemm_config(server_args)
    initialize_mamba_selective_state_update_backend(server_args)


@dataclasses.dataclass(frozen=True)
class Release:
    """A pair of releases that belong together: SGLang pins FlashInfer's."""

    sglang: str
    flashinfer: str
    # Tell SGLang's layers, as its scheduler would, which arguments the process serves with.
    publish: Callable[[Any, Any, int], None]


RELEASES = (
    Release("0.5.17", "0.6.15.post1", _publish_to_global),
    Release("0.5.21", "0.6.18", _publish_to_context),
    Release("0.5.23", "0.7.2", _publish_to_context),
)


def installed_release() -> Release:
    """Return the row of what is installed; a pair without a row is an error that names the known.

    An unknown release may look as if it worked and capture something else: models were lost
    silently that way.
    """
    found = []
    for package in ("sglang", "flashinfer-python"):
        try:
            found.append(metadata.version(package))
        except metadata.PackageNotFoundError:
            raise KerneldefsError(f"{package} is not installed; run `make install`") from None
    for release in RELEASES:
        if [release.sglang, release.flashinfer] == found:
            return release
    known = ", ".join(f"{release.sglang} with {release.flashinfer}" for release in RELEASES)
    raise KerneldefsError(
        f"SGLang {found[0]} with FlashInfer {found[1]} is not a pair that captures are known to "
        f"work with ({known}); install one of these, or add a row to "
        "kerneldefs/capture/simulate/releases.py"
    )
