"""FlashInfer's parts without the whole of it.

Importing any of them imports the whole package first, which decorates every API on the way, and in
some releases asks for a GPU. So an empty package stands in for it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def undecorated() -> Iterator[Any]:
    """Yield flashinfer.api_logging, before any API is decorated; FlashInfer follows at the end."""
    _stand_in("flashinfer")
    yield importlib.import_module("flashinfer.api_logging")
    del sys.modules["flashinfer"]
    importlib.import_module("flashinfer")
    _adopt_submodules()


def downloads() -> Any:
    """Return flashinfer.artifacts, in a process that imports nothing else of FlashInfer."""
    _stand_in("flashinfer")
    _stand_in("flashinfer.jit")
    return importlib.import_module("flashinfer.artifacts")


def _stand_in(name: str) -> None:
    """Put an empty package in the place of one that is not imported yet."""
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.submodule_search_locations is not None
    package = types.ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = package


def _adopt_submodules() -> None:
    """Give the real package the submodules that were imported below the placeholder."""
    package = sys.modules["flashinfer"]
    for name, module in list(sys.modules.items()):
        parent, _, leaf = name.rpartition(".")
        if parent == "flashinfer" and not hasattr(package, leaf):
            setattr(package, leaf, module)
