"""Definitions for these tests: y = f(x) over a small matrix, unless told otherwise."""

from __future__ import annotations

from typing import Any

Specs = dict[str, tuple[list[str] | None, str]]
X: Specs = {"x": (["n", "m"], "float32")}
Y: Specs = {"y": (["n", "m"], "float32")}


def definition(
    reference: str, inputs: Specs = X, outputs: Specs = Y, **more: Any
) -> dict[str, Any]:
    """Return a definition; axes that are not given are var, but for m, which is 8."""
    dims = [dim for shape, _ in (*inputs.values(), *outputs.values()) for dim in shape or ()]
    consts = {"m": 8, **more.pop("consts", {})}
    axes = {
        dim: {"type": "const", "value": consts[dim]} if dim in consts else {"type": "var"}
        for dim in dict.fromkeys([*dims, *consts])
        if dim in dims or dim in more.get("extra", ())
    }
    more.pop("extra", None)
    return {
        "name": "case",
        "op_type": "case",
        "tags": [],
        "axes": axes,
        "constraints": [],
        "inputs": {k: {"shape": shape, "dtype": dtype} for k, (shape, dtype) in inputs.items()},
        "outputs": {k: {"shape": shape, "dtype": dtype} for k, (shape, dtype) in outputs.items()},
        "reference": reference,
        **more,
    }


def body(*lines: str) -> str:
    """Return a reference whose run(x) has these lines."""
    return "import torch\n\ndef run(x):\n" + "".join(f"    {line}\n" for line in lines)
