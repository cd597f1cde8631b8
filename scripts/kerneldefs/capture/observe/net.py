"""The net under the hooks: every matrix product with a weight that no hook accounts for.

Weights are known by their storage, so that a view of one is the same weight. A cast of a weight is
followed too, within one step of the probe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from kerneldefs.capture.observe.ops import LINEAR, MATMUL, contiguous
from kerneldefs.capture.observe.seen import Seen, dtype_name

_PRODUCTS = {
    f"aten::{name}"
    for name in ("addmm", "addmv", "baddbmm", "bmm", "linear", "matmul", "mm", "mv", "_scaled_mm")
}
_DEVICE_OF = "prim::device"  # asked by every operator on a pretended tensor
_COPIES = {"aten::_to_copy", "aten::clone"}


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


class Weights:
    """A model's weights by storage: parameters, and matrices that layers keep as attributes."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[str, tuple[int, ...]]] = {}
        self._copies: dict[int, tuple[torch.Tensor, tuple[str, tuple[int, ...]]]] = {}

    def learn(self, model: torch.nn.Module) -> None:
        """Note every matrix of a loaded model."""
        for path, module in model.named_modules():
            attributes = {**vars(module), **dict(module.named_parameters(recurse=False))}
            for name, value in attributes.items():
                if isinstance(value, torch.Tensor) and value.ndim >= 2:
                    self._names[_key(value)] = (f"{path}.{name}", tuple(value.shape))

    def find(self, tensor: torch.Tensor) -> tuple[str, tuple[int, ...]] | None:
        """Return name and shape of the weight that a tensor shows; None for any other."""
        key = _key(tensor)
        copied = self._copies.get(key)
        return copied[1] if copied else self._names.get(key)

    def copied(self, tensor: torch.Tensor, weight: tuple[str, tuple[int, ...]]) -> None:
        """Note a cast of a weight; it is kept alive, so that its storage is not another's."""
        self._copies[_key(tensor)] = (tensor, weight)

    def forget_copies(self) -> None:
        """Let the casts of a finished step go."""
        self._copies.clear()


class OperatorNet(TorchDispatchMode):  # type: ignore[misc]
    """Sees every operator while the model runs, and tells `report` of those that were missed."""

    def __init__(
        self, weights: Weights, claimed: Callable[[], bool], report: Callable[[Seen, Any], None]
    ) -> None:
        super().__init__()
        self._weights, self._claimed, self._report = weights, claimed, report

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name
        if name == _DEVICE_OF:
            return out
        if name in _COPIES:
            weight = self._weights.find(args[0])
            if weight is not None and isinstance(out, torch.Tensor):
                self._weights.copied(out, weight)
        elif (name in _PRODUCTS or not name.startswith(("aten::", "prims::"))) and (
            not self._claimed()
        ):
            written = _written(func._schema, args, kwargs or {})
            product = out if isinstance(out, torch.Tensor) else written
            given = tree_flatten((args, kwargs or {}))[0]
            tensors = [t for t in given if _is_matrix(t) and t is not written]
            self._look(name, tensors, product)
        return out

    def _look(self, name: str, tensors: list[torch.Tensor], out: torch.Tensor | None) -> None:
        found = [(t, known) for t in tensors if (known := self._weights.find(t)) is not None]
        others = [t for t in tensors if self._weights.find(t) is None]
        if not found or not others:
            return
        operand, named = found[0]
        (weight, shape), x = named, others[0]
        if name not in _PRODUCTS and x.shape[-1] not in shape:
            return  # takes the weight, but multiplies nothing by it
        scalars: dict[str, Any] = {
            "kind": "operator",
            "operator": name,
            "weight_name": _numberless(weight),
        }
        # x @ b, where b shows a whole weight [N, K], transposed or not, and the result N columns
        whole = len(shape) == 2 and tuple(operand.shape) in (shape, shape[::-1])
        n, k = shape[:2] if shape[1] == x.shape[-1] else shape[1::-1]
        if whole and k == x.shape[-1] and out is not None and out.shape[-1] == n:
            linear = {"quantization": "none", "scheme": "operator", "bias": name == "aten::addmm"}
            fact = contiguous((int(n), int(k)), dtype_name(operand.dtype))
            self._report(Seen(LINEAR, {"x": x, "weight": fact}, {**scalars, **linear}), out)
        else:
            self._report(Seen(MATMUL, {"x": x, "weight": operand}, scalars), out)


def _written(schema: Any, args: Any, kwargs: Any) -> torch.Tensor | None:
    """Return the tensor that an operator without a result writes to, where it is one."""
    given = {**dict(zip((a.name for a in schema.arguments), args, strict=False)), **kwargs}
    found = [given.get(a.name) for a in schema.arguments if a.alias_info and a.alias_info.is_write]
    tensors = [value for value in found if isinstance(value, torch.Tensor)]
    return tensors[0] if len(tensors) == 1 else None


def _is_matrix(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim >= 2


def _numberless(name: str) -> str:
    return ".".join("N" if part.isdigit() else part for part in name.split("."))
