"""Results of FlashInfer APIs whose compiled kernel would have made them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from kerneldefs.capture.refusal import FLASHINFER, described, refuser_of
from kerneldefs.capture.simulate.ledger import LEDGER
from kerneldefs.capture.simulate.stubs import contains_stub


def run_body(
    function: Callable[..., Any], template: Any, bound: inspect.BoundArguments
) -> tuple[Any, tuple[str, ...]]:
    """Run an API's Python body; its result is made from the template where a kernel returned it.

    A result without a template to make it from, or a body that fails without one, is an error that
    names the API: nothing is passed on that only looks like a tensor.
    """
    name = f"{function.__module__}.{function.__qualname__}"
    try:
        with LEDGER.inside_api():
            result = function(*bound.args, **bound.kwargs)
    except Exception as error:
        said = refuser_of(described(error)) == FLASHINFER  # as it would on a GPU
        if said:
            error.add_note(f"called as {name}")
        if said or template is None or isinstance(error, NotImplementedError):
            raise
        mark = f"body failed: {type(error).__name__}: {error}"
        LEDGER.guess(f"result of {name} ({mark})")
        return _make(function, template, bound), (mark,)
    if not contains_stub(result) or function.__name__ == "plan":
        return result, ()
    if template is None:
        raise NotImplementedError(
            f"{name} returns what its compiled kernel returned, and no trace template says what "
            "that is; add the function to kerneldefs/capture/simulate/compiled.py"
        )
    return _make(function, template, bound), ("output synthesised from the trace template",)


def _make(function: Callable[..., Any], template: Any, bound: inspect.BoundArguments) -> Any:
    """Empty tensors of the declared outputs; an output buffer that was passed is itself one."""
    arguments = dict(bound.arguments)
    device = next((v.device for v in arguments.values() if isinstance(v, torch.Tensor)), "cuda:0")
    axes = {}
    for axis, extract in template._build_axis_extractors().items():
        value = extract(arguments)
        if value is not None:
            axes[axis] = value
    trace = template.build_fi_trace_fn("")(save_dir=None, **arguments)
    outputs: list[Any] = []
    for key, slot in template.outputs.items():
        buffer = arguments.get(getattr(slot, "param", None) or "")
        if isinstance(buffer, torch.Tensor):
            outputs.append(buffer)
        elif not getattr(slot, "optional", False):
            outputs.append(_empty(slot, axes, trace["outputs"][key]["dtype"], device))
    returns = str(function.__annotations__.get("return", "")).lower()
    if "list" in returns:
        return outputs
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _empty(slot: Any, axes: dict[str, int], dtype: str, device: Any) -> Any:
    dims = getattr(slot, "dim_names", None)
    if dims is None:
        return 0
    shape = [axes[dim] for dim in dims]
    return torch.empty(shape, dtype=getattr(torch, dtype), device=device)
