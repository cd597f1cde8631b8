"""FlashInfer at the moment when its decorator exists and no API is decorated yet."""

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
    """Yield the module flashinfer.api_logging; FlashInfer itself is imported at the end.

    Importing it would import the whole package first, which decorates every API on the way. So an
    empty package stands in for it meanwhile.
    """
    spec = importlib.util.find_spec("flashinfer")
    assert spec is not None and spec.submodule_search_locations is not None
    package = types.ModuleType("flashinfer")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["flashinfer"] = package
    yield importlib.import_module("flashinfer.api_logging")
    del sys.modules["flashinfer"]
    importlib.import_module("flashinfer")
    _adopt_submodules()


def _adopt_submodules() -> None:
    """Give the real package the submodules that were imported below the placeholder."""
    package = sys.modules["flashinfer"]
    for name, module in list(sys.modules.items()):
        parent, _, leaf = name.rpartition(".")
        if parent == "flashinfer" and not hasattr(package, leaf):
            setattr(package, leaf, module)
