"""Repairs of outputs: what the reference returns, under names of their own, in true dtypes."""

from __future__ import annotations

from kerneldefs.capture.record import TensorFact
from kerneldefs.definition.draft import Draft, Quarantine, copied
from kerneldefs.definition.evidence import Evidence, axis_values
from kerneldefs.definition.repairs.inputs import dataset_dtype
from kerneldefs.definition.source import entry, returned


def set_dtypes(draft: Draft, evidence: Evidence) -> Draft:
    """Set the dtype of every output to that of the tensor which the call returned or wrote to."""
    result = copied(draft)
    for name, spec in result["outputs"].items():
        fact = observed(name, evidence)
        if fact is not None:
            _require_shape(name, spec["shape"], fact, evidence)
            spec["dtype"] = dataset_dtype(fact.dtype, f"output {name}")
        else:
            _require_declared(name, spec["dtype"], evidence)
            spec["dtype"] = dataset_dtype(spec["dtype"], f"output {name}")
    return result


def _require_declared(name: str, dtype: str, evidence: Evidence) -> None:
    """Quarantine an output dtype that was only inferred from a quantized input: kernels widen."""
    outputs = evidence.template.outputs
    slot = outputs.get(name) or outputs.get(name.removesuffix("_out"))
    declared = slot is not None and (slot.dtype is not None or slot.dtype_from is not None)
    if not declared and dtype.startswith(("float8", "uint8", "int8")):
        raise Quarantine(
            "no-evidence", f"nothing but an input of {dtype} tells the dtype of {name}"
        )


def observed(name: str, evidence: Evidence) -> TensorFact | None:
    """Return the tensor that an output was: the buffer it was written to, or the returned one."""
    slots = evidence.template.outputs
    declared = name if name in slots else name.removesuffix("_out")
    if declared not in slots:
        return None
    buffer = slots[declared].param or declared
    if buffer in evidence.call.tensors:
        return evidence.call.tensors[buffer]
    place = list(slots).index(declared)
    results = evidence.call.outputs
    return results[place] if place < len(results) else None


def _require_shape(name: str, dims: list[str] | None, fact: TensorFact, evidence: Evidence) -> None:
    sizes = axis_values(evidence)
    declared = [sizes.get(dim) for dim in dims or ()]
    fits = len(declared) == len(fact.shape) and all(
        d is None or d == n for d, n in zip(declared, fact.shape, strict=True)
    )
    if not fits:
        raise Quarantine(
            "output-shape", f"output {name} was {list(fact.shape)}, declared {dims} = {declared}"
        )


def drop_unreturned(draft: Draft, evidence: Evidence) -> Draft:
    """Drop outputs that the reference does not return: buffers written in place, and optional ones.

    The kernel does write them; the dataset's definitions of such kernels leave them out too.
    """
    function = entry(draft["reference"])
    count = returned(draft["reference"], function.name)
    names = list(draft["outputs"])
    if isinstance(count, tuple):
        kept = [name for name in names if name in count]
        if not kept:
            raise Quarantine("return-names", f"the reference returns {list(count)}, not {names}")
    elif count is None:
        raise Quarantine("return-arity", "the source does not tell how much the reference returns")
    elif count == 0:
        if not all(_buffer(name, evidence) in function.writes for name in names):
            raise Quarantine("return-nothing", "the reference returns nothing")
        kept = names
    elif count > len(names):
        raise Quarantine(
            "return-arity", f"the reference returns {count} values for {len(names)} outputs"
        )
    else:
        kept = names[:count]
    for name in names:
        if name not in kept and not _may_go(name, draft, evidence):
            raise Quarantine("return-arity", f"the reference does not return the output {name}")
    result = copied(draft)
    result["outputs"] = {name: spec for name, spec in result["outputs"].items() if name in kept}
    return result


def _buffer(name: str, evidence: Evidence) -> str:
    slot = evidence.template.outputs.get(name)
    return (slot.param if slot else None) or name


def _may_go(name: str, draft: Draft, evidence: Evidence) -> bool:
    slot = evidence.template.outputs.get(name)
    return name in draft["inputs"] or (slot is not None and slot.optional)


def rename_overlapping(draft: Draft, evidence: Evidence) -> Draft:
    """Give an output that has an input's name one of its own."""
    result, taken = copied(draft), {*draft["inputs"], *draft["outputs"]}
    renamed = {}
    for name, spec in result["outputs"].items():
        new = name
        while new in draft["inputs"] or (new != name and new in taken):
            new += "_out"
        renamed[new] = spec
    result["outputs"] = renamed
    return result
