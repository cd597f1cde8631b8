"""Stand-ins for packages that exist only as CUDA code: importable, callable, and never a tensor.

A stub absorbs attribute access and calls, and fails loudly where a number, a truth about data or a
tensor is expected of it, so that nothing computed from a stub can look like a result.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterable
from typing import Any

from kerneldefs.capture.simulate.ledger import LEDGER

# Stubbed where they are not installed: none of them has kernels that a capture needs to see.
OPTIONAL = (
    "cutlass",
    "cutlass_library",
    "datasets",
    "humming",
    "mooncake",
    "numba",
    "nvshmem",
    "outlines",
    "quack",
    "smg_grpc_servicer",
    "tilelang",
    "tokenspeed_mla",
    "torch_memory_saver",
)
# Stubbed even where they are installed: importing them needs a driver, a GPU, or the very build of
# torch that they were made for (torchvision, whose images no language model's kernels see).
ALWAYS = ("cuda", "deep_ep", "deep_gemm", "torchvision")

# Decorators that make a compiled kernel of a function: its body is no Python to run.
_COMPILERS = {"tilelang.jit"}

_DUNDER_ERRORS = "{} is a stub of CUDA-only code and was used as {}"


class Stub:
    """An object of a stubbed package."""

    def __init__(self, name: str) -> None:
        self.__dict__["_stub_name"] = name

    def __getattr__(self, key: str) -> Any:
        # CUTLASS's DSL asks for __mlir...__ attributes of its types; other dunders stay absent.
        if key.startswith("__") and key.endswith("__") and "mlir" not in key:
            raise AttributeError(key)
        child = Stub(f"{self._stub_name}.{key}")
        self.__dict__[key] = child
        return child

    def __setattr__(self, key: str, value: Any) -> None:
        self.__dict__[key] = value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        decorates = len(args) == 1 and not kwargs
        if decorates and isinstance(args[0], (types.FunctionType, type)):
            compiles = self._stub_name.removesuffix("()") in _COMPILERS
            return Stub(f"{self._stub_name}.{args[0].__name__}") if compiles else args[0]
        LEDGER.skip("stubbed call", self._stub_name)
        return Stub(self._stub_name + "()")

    def __getitem__(self, key: Any) -> Stub:
        return Stub(self._stub_name + "[]")

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        return (object,)

    def __instancecheck__(self, instance: Any) -> bool:
        return False  # nothing can have been made of a class that is not there

    def __iter__(self) -> Any:
        raise TypeError(_DUNDER_ERRORS.format(self._stub_name, "a sequence"))

    def __int__(self) -> int:
        raise TypeError(_DUNDER_ERRORS.format(self._stub_name, "a number"))

    def __repr__(self) -> str:
        return f"<stub {self._stub_name}>"

    def __or__(self, other: Any) -> Stub:  # type annotations such as `Stub | None`
        return self

    __ror__ = __or__

    def __bool__(self) -> bool:
        return True

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def _not_less(self, other: Any) -> bool:
        return False

    __lt__ = __gt__ = __le__ = __ge__ = _not_less  # version comparisons


def contains_stub(value: Any) -> bool:
    """Whether a result is a stub, or a tuple or list with one in it."""
    if isinstance(value, (tuple, list)):
        return any(contains_stub(item) for item in value)
    return isinstance(value, Stub)


class StubModule(types.ModuleType):
    """A module whose every attribute is a stub."""

    __path__ = []  # noqa: RUF012  # as of a package
    __version__ = "99.0.0"  # newer than any minimum that is asked for

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__") and key.endswith("__"):
            raise AttributeError(key)
        full = f"{self.__name__}.{key}"
        if full in sys.modules:
            return sys.modules[full]
        stub = Stub(full)
        setattr(self, key, stub)
        return stub


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.split(".")[0] not in self.names:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = StubModule(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install() -> list[str]:
    """Stub what cannot be imported here; returns the names, sorted.

    A stub never shadows submodules of an installed package: the finder of the optional ones comes
    last, and only names that nothing provides are given to it.
    """
    missing = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]
    sys.meta_path.insert(0, _Finder(ALWAYS))
    sys.meta_path.append(_Finder(missing))
    return sorted([*ALWAYS, *missing])
