"""Compiled code that is loaded at run time: modules whose every function does nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kerneldefs.capture.simulate import compress_plan
from kerneldefs.capture.simulate.ledger import LEDGER
from kerneldefs.capture.simulate.stubs import Stub

# Functions of compiled modules whose result steers Python code: numbers and shapes, never data.
_RESULTS: dict[str, Callable[..., Any]] = {
    "dpsk_v4_compress_plan.plan_decode": compress_plan.decode,
    "dpsk_v4_compress_plan.plan_prefill": compress_plan.prefill,
    "get_gemm1_tactic_count": lambda *a, **k: 1,
    "get_gemm2_tactic_count": lambda *a, **k: 1,
    "get_max_active_clusters": lambda *a, **k: 8,
    "get_tactic_num": lambda *a, **k: 1,
    "plan_with_staged_workspace_bytes": lambda *a, **k: ([0] * 32, 0),
    "trtllm_get_valid_moe_configs": lambda *a, **k: [[-1, -1]],
}


class CompiledModule:
    """A compiled module: any function exists, is counted, and returns a stub."""

    def __init__(self, kind: str, name: str) -> None:
        self.__dict__["_kind"] = kind
        self.__dict__["_name"] = name

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        full = f"{self._name}.{key}"

        def function(*args: Any, **kwargs: Any) -> Any:
            LEDGER.skip(self._kind, full)
            result = _RESULTS.get(full) or _RESULTS.get(key)
            return result(*args, **kwargs) if result else Stub(f"{full}()")

        function.default = function  # type: ignore[attr-defined]  # torch.ops style access
        self.__dict__[key] = function
        return function

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        LEDGER.skip(self._kind, self._name)


class CompiledSpec:
    """What FlashInfer's JIT generators return: a module to build and load."""

    def __init__(self, name: str) -> None:
        self.name = name

    def build_and_load(self, *args: Any, **kwargs: Any) -> CompiledModule:
        return CompiledModule("flashinfer kernel", self.name)

    build = load = build_and_load

    def get_library_path(self) -> str:
        return "/dev/null"

    def get_library_paths(self) -> tuple[str, ...]:
        return ()

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        return Stub(f"{self.name}.{key}")


class CuteCompile:
    """`cutlass.cute.compile`, which on a machine without a GPU compiles for long and then hangs."""

    def __getitem__(self, options: Any) -> CuteCompile:
        return self

    def __call__(self, function: Any = None, *args: Any, **kwargs: Any) -> CompiledModule:
        name = getattr(function, "__name__", type(function).__name__)
        return CompiledModule("flashinfer kernel", f"cute.{name}")
