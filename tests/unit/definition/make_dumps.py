"""Write what FlashInfer would dump for the calls of cases.py: run apart, since it imports torch.

    python make_dumps.py OUT.json

Upstream's text is never committed: each test session makes it anew from the installed package.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json
import sys
import types
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[2] / "scripts")]


def without_compiled_parts() -> None:
    """Let flashinfer.trace be imported without the package's __init__, which needs CUDA."""
    spec = importlib.util.find_spec("flashinfer")
    assert spec is not None and spec.submodule_search_locations
    package = types.ModuleType("flashinfer")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["flashinfer"] = package


def arguments(call: Any) -> dict[str, Any]:
    """Return a recorded call's arguments, with meta tensors of the recorded shapes."""
    import torch

    found: dict[str, Any] = dict(call.scalars)
    for name, fact in call.tensors.items():
        tensor = torch.empty(fact.shape, dtype=getattr(torch, fact.dtype), device="meta")
        base, _, place = name.partition("#")
        if place:
            found.setdefault(base, []).insert(int(place), tensor)
        else:
            found[name] = tensor
    return {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}


def main() -> None:
    """Dump every case."""
    from definition.cases import CASES

    without_compiled_parts()
    from kerneldefs.capture.facts import describe

    out = {}
    for name, case in CASES.items():
        module, _, attribute = case.template.partition(":")
        template = getattr(
            importlib.import_module(f"flashinfer.trace.templates.{module}"), attribute
        )
        passed = arguments(case.call)
        signature = inspect.Signature(
            [
                inspect.Parameter(p, inspect.Parameter.KEYWORD_ONLY, default=None)
                for p, v in passed.items()
                if v is None and "#" not in p
            ]
        )
        dumped = template.build_fi_trace_fn(case.call.op)(save_dir=None, **passed)
        record = dataclasses.asdict(describe(template, case.call.op, signature))
        out[name] = {"dumped": dumped, "template": record}
    Path(sys.argv[1]).write_text(json.dumps(out))


if __name__ == "__main__":
    main()
