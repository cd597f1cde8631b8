"""The families: every module of families/ that has a `FAMILY`. Adding one touches nothing else."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator

from kerneldefs.capture.record import KernelCall
from kerneldefs.derive import families as package
from kerneldefs.derive.equivalent import Equivalent, Family, Options


@functools.cache
def families() -> tuple[Family, ...]:
    """Return every family, sorted by name."""
    modules = (
        importlib.import_module(f"{package.__name__}.{info.name}")
        for info in pkgutil.iter_modules(package.__path__)
    )
    found = [module.FAMILY for module in modules if hasattr(module, "FAMILY")]
    return tuple(sorted(found, key=lambda family: family.name))


def families_of(op: str) -> tuple[Family, ...]:
    """Return the families that read an observed op; none for an op that nobody knows."""
    return tuple(family for family in families() if op in family.ops)


def equivalents(call: KernelCall, options: Options) -> Iterator[tuple[Family, Equivalent]]:
    """Yield the equivalents of one observed call with their families; may raise Underivable."""
    for family in families_of(call.op):
        for equivalent in family.equivalents(call, options):
            yield family, equivalent
