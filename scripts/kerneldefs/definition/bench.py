"""flashinfer-bench's own Definition model, without the torch import of its package."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
from typing import Any

from kerneldefs.errors import KerneldefsError

_PACKAGE = "flashinfer_bench"


@functools.cache
def definition_model() -> Any:
    """Return flashinfer_bench.data.Definition.

    The package's __init__ modules import torch and more (1.7 s); the model needs only pydantic. So
    its module is loaded below empty stand-ins for the two packages, which leave no trace.
    """
    if f"{_PACKAGE}.data" in sys.modules:
        return importlib.import_module(f"{_PACKAGE}.data.definition").Definition
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise KerneldefsError(
            f"{_PACKAGE} is not installed, so definitions cannot be checked against its schema; "
            "install flashinfer-bench"
        )
    before = set(sys.modules)
    for name, folder in ((_PACKAGE, ""), (f"{_PACKAGE}.data", "/data")):
        package = types.ModuleType(name)
        package.__path__ = [f"{where}{folder}" for where in spec.submodule_search_locations]
        sys.modules[name] = package
    try:
        return importlib.import_module(f"{_PACKAGE}.data.definition").Definition
    finally:
        for name in set(sys.modules) - before:
            if name.split(".")[0] == _PACKAGE:
                del sys.modules[name]


def problems(definition: Any) -> list[str]:
    """Return what flashinfer-bench has against a definition, a sentence each."""
    from pydantic import ValidationError

    try:
        definition_model().model_validate(definition)
    except ValidationError as error:
        return [
            f"{'/'.join(str(part) for part in e['loc']) or 'definition'}: {e['msg']}"
            for e in error.errors()
        ]
    return []
