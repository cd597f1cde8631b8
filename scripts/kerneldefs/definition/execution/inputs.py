"""Small valid inputs for a definition, the same ones every time."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from kerneldefs.definition.execution.evaluate import Array, Unevaluable, evaluate, names_of
from kerneldefs.definition.execution.generators import make
from kerneldefs.definition.execution.makers import Wanted
from kerneldefs.definition.execution.plan import plan
from kerneldefs.definition.execution.sizes import BUDGET, Sizes, choose

LONGEST_ARRAY = 100_000  # elements of a tensor that a constraint looks into


class NoInputs(Exception):
    """A definition for which no valid inputs could be made: why, in a sentence."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The values by name, in the order of run()'s parameters, and the sizes they have."""

    values: dict[str, Any]
    sizes: Sizes


def generate(definition: Mapping[str, Any], seed: int = 0, budget: int = BUDGET) -> Inputs:
    """Return inputs of the declared shapes and dtypes for which the constraints hold.

    Raises `NoSizes` or `NoInputs`.
    """
    sizes = choose(definition, budget)
    random = torch.Generator().manual_seed(seed)
    requests = plan(definition, sizes.axes)
    values = {}
    for name, spec in definition["inputs"].items():
        dims = None if spec["shape"] is None else tuple(spec["shape"])
        wanted = Wanted(name, dims, spec["dtype"], definition, sizes.axes, requests, random)
        try:
            values[name] = make(wanted)
        except (RuntimeError, ValueError, IndexError) as error:
            raise NoInputs(f"no input {name} of {wanted.shape} could be made: {error}") from None
    for text in definition.get("constraints", []):
        _require(text, sizes.axes, values)
    return Inputs(values, sizes)


def _require(text: str, axes: Mapping[str, int], values: Mapping[str, Any]) -> None:
    names: dict[str, Any] = dict(axes)
    contents = _contents(text)
    for name in names_of(text) & set(values):
        value = values[name]
        names[name] = _array(value, name in contents) if torch.is_tensor(value) else value
    try:
        holds = evaluate(text, names)
    except Unevaluable as error:
        raise NoInputs(f"the constraint {text!r} cannot be evaluated: {error}") from None
    if not holds:
        raise NoInputs(f"the generated inputs break the constraint {text!r}")


def _contents(text: str) -> set[str]:
    """The names of an expression that it asks for more than their shape."""
    tree = ast.parse(text, mode="eval")
    shapes = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "shape"
    }
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in shapes}


def _array(tensor: Any, with_values: bool) -> Array:
    if not with_values:
        return Array((), tensor.shape)
    if tensor.numel() > LONGEST_ARRAY:
        raise NoInputs(f"a constraint looks into a tensor of {tensor.numel()} elements")
    return Array(tensor.tolist(), tensor.shape)
