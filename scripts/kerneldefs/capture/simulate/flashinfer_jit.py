"""FlashInfer with its Python whole and its compiled side replaced.

Every decorated API dumps its definition as on a GPU, and its Python body runs, down to the compiled
module that it would load.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import types
from typing import Any

from kerneldefs.capture.flashinfer_import import undecorated
from kerneldefs.capture.simulate.compiled import CompiledModule, CompiledSpec, CuteCompile
from kerneldefs.capture.simulate.stubs import StubModule


def _replace_cute_compile() -> None:
    import cutlass.cute as cute

    if isinstance(cute, StubModule):
        return
    compilers: list[Any] = [cute]
    try:
        from cutlass.cute import experimental
    except ImportError:
        pass  # this CUTLASS has no experimental compiler, so nothing can call it
    else:
        compilers.append(experimental)
    for module in compilers:
        cls = type(module.compile)
        if cls is not types.FunctionType:  # an instance may have been imported by name already
            cls.__call__ = CuteCompile.__call__
        module.compile = CuteCompile()


def _generator(name: str) -> Any:
    return lambda *args, **kwargs: CompiledSpec(name.removeprefix("gen_"))


_REPLACED = {
    "get_artifact": lambda *a, **k: b"",
    "get_meta_hash": lambda *a, **k: "0" * 64,
    "setup_cubin_loader": lambda *a, **k: None,
    "setup_metainfo_loader": lambda *a, **k: None,
}


def _replace_jit() -> None:
    """Replace every generator of compiled code below flashinfer.jit."""
    jit = importlib.import_module("flashinfer.jit")
    sys.modules["flashinfer"].jit = jit  # type: ignore[attr-defined]
    core = importlib.import_module("flashinfer.jit.core")
    for found in pkgutil.walk_packages(jit.__path__, "flashinfer.jit."):
        try:
            importlib.import_module(found.name)
        except ImportError:
            continue  # its importer will fail the same way, with this very error
    modules = [m for n, m in list(sys.modules.items()) if n.startswith("flashinfer.jit")]
    for module in modules:
        for name, value in list(vars(module).items()):
            is_function = callable(value) and not isinstance(value, type)
            if is_function and name.startswith("gen_"):
                setattr(module, name, _generator(name))
            elif name in _REPLACED:
                setattr(module, name, _REPLACED[name])
    for name in ("JitSpec", "JitSpecNvcc"):
        if hasattr(core, name):
            getattr(core, name).build_and_load = lambda self: CompiledModule(
                "flashinfer kernel", getattr(self, "name", "unnamed")
            )


def install(before_apis: Any) -> None:
    """Import FlashInfer with its compiled side replaced.

    `before_apis(api_logging)` is called when FlashInfer's decorator exists and no API is decorated
    yet: the place for a recorder.
    """
    _replace_cute_compile()
    with undecorated() as api_logging:
        before_apis(api_logging)
        _replace_jit()
