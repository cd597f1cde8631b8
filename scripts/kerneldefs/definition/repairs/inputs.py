"""Repairs of inputs: what was never passed goes, flags are bound, dtypes are what was passed."""

from __future__ import annotations

import ast
from collections.abc import Callable

from kerneldefs.definition.arguments import HARMLESS, neutral
from kerneldefs.definition.draft import DTYPES, SAME_BYTES, Draft, Quarantine, copied
from kerneldefs.definition.evidence import Evidence
from kerneldefs.definition.source import Entry, entry, functions, parse

Drops = Callable[[str, Draft, Evidence, Entry], bool]


def dropping(drops: Drops) -> Callable[[Draft, Evidence], Draft]:
    """Return a repair that leaves out the inputs for which `drops` is true."""

    def apply(draft: Draft, evidence: Evidence) -> Draft:
        result, function = copied(draft), entry(draft["reference"])
        for key in list(draft["inputs"]):
            if drops(key, draft, evidence, function):
                del result["inputs"][key]
        return result

    return apply


def taken_as(key: str, evidence: Evidence, function: Entry) -> str | None:
    """Return the name under which the reference takes an input; None if it does not."""
    for name in (key, evidence.param(key)):
        if name in function.parameters or name in function.keywords:
            return name
    return None


def is_scratch(key: str, draft: Draft, evidence: Evidence, function: Entry) -> bool:
    """Buffers and switches that say how a kernel runs."""
    return bool({key, evidence.param(key)} & HARMLESS)


def is_absent(key: str, draft: Draft, evidence: Evidence, function: Entry) -> bool:
    """Inputs that the call left out, where the reference can do without."""
    if not evidence.of(key).absent:
        return False
    name = taken_as(key, evidence, function)
    if name is None or name in function.keywords or function.parameters[name] is not None:
        return True
    if name not in function.reads or handles_none(draft["reference"], name):
        return True
    raise Quarantine(
        "input-absent", f"{evidence.call.op} was called without {key}, which the reference needs"
    )


def handles_none(reference: str, name: str) -> bool:
    """Whether a reference, or a helper of it, asks if a parameter `name` is None."""
    for function in functions(parse(reference)).values():
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Compare)
                and isinstance(node.left, ast.Name)
                and node.left.id == name
                and isinstance(node.ops[0], (ast.Is, ast.IsNot))
            ):
                return True
    return False


def is_flag(key: str, draft: Draft, evidence: Evidence, function: Entry) -> bool:
    """Python flags and words: one definition is one setting of them."""
    return isinstance(evidence.of(key).value, (bool, str))


def is_axis(key: str, draft: Draft, evidence: Evidence, function: Entry) -> bool:
    """Scalars that repeat the size of an axis."""
    if draft["inputs"][key]["shape"] is not None:
        return False
    return bool({key, evidence.param(key)} & draft["axes"].keys())


def is_ignored(key: str, draft: Draft, evidence: Evidence, function: Entry) -> bool:
    """Scalars with a value that changes nothing, which the reference does not take."""
    if taken_as(key, evidence, function) is not None:
        return False
    value = evidence.of(key).value
    if evidence.of(key).tensor is None and value in neutral(evidence.prefix, key):
        return True
    raise Quarantine(
        "input-ignored", f"the reference does not take the input {key}, which was passed"
    )


def set_dtypes(draft: Draft, evidence: Evidence) -> Draft:
    """Set the dtype of every input to what was passed."""
    result = copied(draft)
    for key, spec in result["inputs"].items():
        received = evidence.of(key)
        if spec["shape"] is None:
            spec["dtype"] = _scalar_dtype(key, spec["dtype"], received.value)
        elif received.tensor is None:
            raise Quarantine("no-tensor", f"no tensor of the call tells the dtype of {key}")
        else:
            spec["dtype"] = dataset_dtype(received.tensor.dtype, f"input {key}")
    return result


def _scalar_dtype(key: str, declared: str, value: object) -> str:
    """The template's word for a scalar, where the dataset has it and the value fits it."""
    if declared in DTYPES and not (isinstance(value, float) and declared.startswith("int")):
        return declared
    if isinstance(value, float) or declared == "float64":
        return "float32"
    if isinstance(value, int) and not isinstance(value, bool):
        return "int32" if abs(value) < 2**31 else "int64"
    raise Quarantine("dtype", f"scalar {key} is declared {declared} and was {value!r}")


def dataset_dtype(dtype: str, where: str) -> str:
    """Return the dataset's dtype with the same bytes as a torch dtype."""
    name = SAME_BYTES.get(dtype, dtype)
    if name not in DTYPES:
        raise Quarantine("dtype", f"{where} is {dtype}, which the dataset does not have")
    return name
