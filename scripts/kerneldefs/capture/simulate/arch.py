"""The GPU architectures that the simulation can pretend to be."""

from __future__ import annotations

import dataclasses

from kerneldefs.errors import KerneldefsError, nearest


@dataclasses.dataclass(frozen=True)
class Arch:
    """What software asks a GPU about itself (CUDA device properties of one shipped product)."""

    name: str
    major: int
    minor: int
    product: str
    multiprocessors: int
    memory_gib: int
    shared_memory_optin: int  # bytes a block may opt in to

    @property
    def cute_dsl(self) -> str:
        """The architecture as CUTLASS's Python DSL spells it, with its feature suffix."""
        return self.name + ("a" if self.major >= 9 else "")


_ARCHS = (
    Arch("sm_80", 8, 0, "NVIDIA A100-SXM4-80GB", 108, 80, 166912),
    Arch("sm_90", 9, 0, "NVIDIA H100 80GB HBM3", 132, 80, 232448),
    Arch("sm_100", 10, 0, "NVIDIA B200", 148, 180, 232448),
    Arch("sm_103", 10, 3, "NVIDIA GB300", 148, 288, 232448),
    Arch("sm_120", 12, 0, "NVIDIA RTX PRO 6000", 188, 96, 101376),
)


def arch(name: str) -> Arch:
    """Return an architecture by name; an unknown one is an error naming the nearest."""
    for candidate in _ARCHS:
        if candidate.name == name:
            return candidate
    raise KerneldefsError(
        f"architecture {name!r} cannot be simulated{nearest(name, [a.name for a in _ARCHS])}"
    )
