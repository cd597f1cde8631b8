"""Made-up operators, for defects that no real call shows."""

from __future__ import annotations

import ast
from typing import Any

from kerneldefs.capture.record import Axis, KernelCall, Slot, Template, TensorFact
from kerneldefs.definition.draft import Draft
from kerneldefs.definition.repair import repair

from .calls import BF16, fact

API = "flashinfer.made.up"


class Made:
    """A made-up operator: two tensors by default, and whatever a test needs beside them."""

    def __init__(self, reference: str, **slots: Any) -> None:
        self.reference, self.prefix = reference, "made_up"
        self.constraints: list[str] | None = None
        self.more: Draft = {}  # further keys of what is dumped
        self.axes = {"n": Axis(False, None, None), "d": Axis(True, "d", None)}
        self.inputs: dict[str, Slot] = {"x": Slot(("n", "d"), None, None, None, False)}
        self.outputs: dict[str, Slot] = {"out": Slot(("n", "d"), None, None, None, False)}
        self.tensors: dict[str, TensorFact] = {"x": fact(BF16, 3, 8)}
        self.scalars: dict[str, Any] = {}
        self.results: tuple[TensorFact, ...] = (fact(BF16, 3, 8),)
        for name, value in slots.items():
            setattr(self, name, {**getattr(self, name), **value})

    def repaired(self) -> Draft:
        """Dump and repair it."""
        return repair(self.dumped(), self.call(), self.template()).definition

    def template(self) -> Template:
        """Return its template's record."""
        return Template(
            API, "made", self.prefix, "", self.axes, self.inputs, self.outputs, (), True
        )

    def call(self) -> KernelCall:
        """Return the one call of it."""
        return KernelCall(
            API,
            self.tensors,
            self.scalars,
            self.results,
            None,
            {},
            "decode",
            "",
            "made_up",
            "t",
            (),
        )

    def dumped(self) -> Draft:
        """Return what FlashInfer would write."""

        def spec(slot: Slot) -> dict[str, Any]:
            shape = None if slot.dims is None else list(slot.dims)
            return {"shape": shape, "dtype": slot.dtype or BF16}

        return {
            "name": "made_up",
            "description": "Made up.",
            "op_type": "made",
            "tags": [f"fi_api:{API}"],
            "axes": {k: {"type": "const" if a.const else "var"} for k, a in self.axes.items()},
            "inputs": {name: spec(slot) for name, slot in self.inputs.items()},
            "outputs": {name: spec(slot) for name, slot in self.outputs.items()},
            "reference": self.reference,
            **({} if self.constraints is None else {"constraints": self.constraints}),
            **self.more,
        }


def tensor(*dims: str, param: str | None = None, place: int | None = None, **more: Any) -> Slot:
    return Slot(dims, more.pop("dtype", None), param, place, more.pop("optional", False))


def scalar(dtype: str = "float32", **more: Any) -> Slot:
    return Slot(None, dtype, None, None, more.pop("optional", False))


def run_of(definition: Draft) -> str:
    """Return the source of a definition's run."""
    tree = ast.parse(definition["reference"])
    (run,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "run")
    return ast.unparse(run)
