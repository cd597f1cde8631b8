"""The `run` that is appended to a reference: its parameters are exactly the inputs, in order."""

from __future__ import annotations

import ast
import re

from kerneldefs.definition.arguments import HARMLESS
from kerneldefs.definition.draft import Draft, Quarantine, const_axes, copied
from kerneldefs.definition.evidence import Evidence, Scalar
from kerneldefs.definition.repairs.inputs import handles_none, taken_as
from kerneldefs.definition.source import Entry, entry, returned
from kerneldefs.definition.variants import named

# How a record spells a torch.dtype that was passed (kerneldefs.capture.facts).
_TORCH_DTYPE = re.compile(r"torch\.(bool|(bfloat|float|u?int|complex)[0-9a-z_]+)")

RUN = "run"
INNER = "_reference"  # a reference of ours, where its own `run` does not take the inputs as passed
MARK = "# Takes the definition's inputs in order and returns its outputs."
# Arguments that a reference may be told; another value than its default changes no name because
# the variants of variants.py, or the template itself, already say it.
NAMED_ELSEWHERE = frozenset({"filter_apply_order", "is_causal", "kv_layout", "q_len_per_req"})


def append_run(draft: Draft, evidence: Evidence) -> Draft:
    """Append a `run` that binds the inputs to the reference, unless there is a true one."""
    source = draft["reference"].rstrip("\n") + "\n"
    function = entry(source)
    if function.name == RUN:
        if tuple(function.parameters) != tuple(draft["inputs"]) or function.keywords:
            raise Quarantine(
                "run-parameters",
                f"run takes {list(function.parameters)}, the inputs are {list(draft['inputs'])}",
            )
        if MARK in source or all(_seen(key, draft, evidence) == key for key in draft["inputs"]):
            return draft
        source = source.replace(f"def {RUN}(", f"def {INNER}(")
        function = entry(source)
    result = copied(draft)
    result["reference"] = source  # what the new run calls
    result["reference"] = f"{source}\n\n{_run(result, evidence, function)}"
    return result


def _run(draft: Draft, evidence: Evidence, function: Entry) -> str:
    count = returned(draft["reference"], function.name)
    inplace = _inplace(draft, evidence) if count == 0 else {}
    arguments = _arguments(draft, evidence, function, inplace)
    call = _wrapped(f"{function.name}(", arguments, ")", "    ")
    lines = [MARK, _wrapped(f"def {RUN}(", list(draft["inputs"]), "):", "")]
    names = list(draft["outputs"])
    if count == 0:
        lines += [
            f"    {key} = {_buffer(key, name, draft, evidence)}" for name, key in inplace.items()
        ]
        lines.append(f"    {call}")
        values = [inplace[name] for name in names]
    elif isinstance(count, tuple):
        lines.append(f"    outputs = {call}")
        values = [f"outputs[{name!r}]" for name in names]
    elif count == 1:
        values = [call]
    else:
        lines.append(f"    outputs = {call}")
        values = [f"outputs[{place}]" for place in range(len(names))]
    results = [
        _as_declared(value, draft["outputs"][name])
        for name, value in zip(names, values, strict=True)
    ]
    lines.append(f"    return {', '.join(results)}")
    return "\n".join(lines) + "\n"


def _wrapped(start: str, parts: list[str], end: str, indent: str) -> str:
    """Return a parenthesised list, one entry a line where it is long."""
    line = f"{start}{', '.join(parts)}{end}"
    if len(line) < 80:
        return line
    return "\n".join([start, *(f"{indent}    {part}," for part in parts), f"{indent}{end}"])


def _as_declared(value: str, spec: dict[str, object]) -> str:
    """Cast a result to its declared dtype; references of FlashInfer 0.6.18 fix some at bfloat16.

    Quantized results are codes: they are looked at as the declared dtype, never converted.
    """
    dtype = str(spec["dtype"])
    if spec["shape"] is None:
        return value
    if dtype.startswith("float8") or dtype == "int8":
        return f"{value}.view(torch.{dtype})"
    return value if dtype in ("bool", "float4_e2m1") else f"{value}.to(torch.{dtype})"


def _inplace(draft: Draft, evidence: Evidence) -> dict[str, str]:
    """Output -> the input buffer that the reference writes it to."""
    buffers = {}
    for name in draft["outputs"]:
        slot = evidence.template.outputs.get(name.removesuffix("_out"))
        param = (slot.param if slot else None) or name.removesuffix("_out")
        keys = [key for key in draft["inputs"] if param in (key, evidence.param(key))]
        if len(keys) > 1:
            raise Quarantine("return-nothing", f"the reference returns no {name}")
        buffers[name] = keys[0] if keys else param
    return buffers


def _arguments(
    draft: Draft, evidence: Evidence, function: Entry, inplace: dict[str, str]
) -> list[str]:
    """Return the call's arguments: an input for each parameter that has one, else a known value."""
    inputs_of: dict[str, list[str]] = {}
    for key in draft["inputs"]:
        name = taken_as(key, evidence, function)
        if name is None:
            raise Quarantine("input-ignored", f"the reference does not take the input {key}")
        inputs_of.setdefault(name, []).append(key)
    arguments = []
    written = _written(draft, evidence, function)
    for name in [*function.parameters, *sorted(function.keywords - function.parameters.keys())]:
        keys = inputs_of.get(name)
        if name in inplace.values() and not keys:
            expression = name
        elif name in written:
            expression = _buffer(name, written[name], draft, evidence)
        elif keys:
            expression = _input(keys, draft, evidence, function, set(inplace.values()))
        else:
            found = _value(name, draft, evidence, function)
            if found is None:
                continue
            expression = found
        positional = name in function.positional_only
        arguments.append(expression if positional else f"{name}={expression}")
    return arguments


def _written(draft: Draft, evidence: Evidence, function: Entry) -> dict[str, str]:
    """Required parameters that are output buffers which the reference fills and returns."""
    found = {}
    for name in draft["outputs"]:
        slot = evidence.template.outputs.get(name.removesuffix("_out"))
        param = (slot.param if slot else None) or name.removesuffix("_out")
        required = param in function.parameters and function.parameters[param] is None
        if required and param in function.writes and param not in draft["inputs"]:
            found[param] = name
    return found


def _input(
    keys: list[str], draft: Draft, evidence: Evidence, function: Entry, cloned: set[str]
) -> str:
    places = {key: evidence.template.inputs[key].tuple_index for key in keys}
    if len(keys) > 1 or (places[keys[0]] is not None and keys[0] not in function.parameters):
        parts = sorted(keys, key=lambda key: places[key] or 0)
        return f"({', '.join(_seen(key, draft, evidence) for key in parts)},)"
    key = keys[0]
    written = key in function.writes or evidence.param(key) in function.writes
    if written and key not in cloned:
        return _clone(key, draft, evidence)
    return _seen(key, draft, evidence)


def _buffer(key: str, output: str, draft: Draft, evidence: Evidence) -> str:
    """Return what a reference may write an output to: a copy of its input, else an empty tensor."""
    if key in draft["inputs"]:
        return _clone(key, draft, evidence)
    spec = draft["outputs"][output]
    sizes = [_size(dim, draft) for dim in spec["shape"]]
    return f"torch.empty(({', '.join(sizes)},), dtype=torch.{spec['dtype']})"


def _size(dim: str, draft: Draft) -> str:
    axis = draft["axes"][dim]
    return repr(axis["value"]) if axis["type"] == "const" else _axis_expression(dim, draft)


def _clone(key: str, draft: Draft, evidence: Evidence) -> str:
    return f"{_seen(key, draft, evidence)}.clone()"


def _seen(key: str, draft: Draft, evidence: Evidence) -> str:
    """Return an input as the reference expects it: unsigned bytes, axes in the template's order."""
    expression, tensor = key, evidence.of(key).tensor
    if tensor is not None and tensor.dtype != draft["inputs"][key]["dtype"]:
        expression += f".view(torch.{tensor.dtype})"
    declared, dims = evidence.template.inputs[key].dims, evidence.dims.get(key)
    function = entry(draft["reference"])
    knows_layout = "kv_layout" in function.parameters or "kv_layout" in function.keywords
    if dims and declared and dims != declared and not knows_layout:
        expression += f".permute({', '.join(str(dims.index(dim)) for dim in declared)})"
    return expression


def _source(value: Scalar) -> str:
    """Return a passed value as source text: a torch dtype by its name, anything else literally."""
    if isinstance(value, str) and _TORCH_DTYPE.fullmatch(value):
        return value
    return repr(value)


def _value(name: str, draft: Draft, evidence: Evidence, function: Entry) -> str | None:
    """Return the source of a value for a parameter without an input; None to leave its default.

    An axis first, then what the call passed, then None for what the call left out.
    """
    default = function.parameters.get(name)
    required = name in function.parameters and default is None
    axis = draft["axes"].get(name)
    if axis and axis["type"] == "const":
        return repr(const_axes(draft)[name])
    if axis:
        return _axis_expression(name, draft)
    if name == "return_lse" and required and "lse" in draft["outputs"]:
        return "True"
    value = evidence.scalar(name)
    if value is not None and name not in HARMLESS:
        if default is not None and _literal(default) == value:
            return None
        if required or name in NAMED_ELSEWHERE or name in named(evidence):
            return _source(value)
        raise Quarantine(
            "unnamed-variant",
            f"the reference takes {name}={default or 'unset'} and the call passed {value!r}, "
            "which no rule of ours gives a name",
        )
    if not required:
        return None
    unread = name not in function.reads
    if unread or name in HARMLESS or handles_none(draft["reference"], name):
        return "None"
    raise Quarantine("run-value", f"the reference needs {name}, and nothing tells its value")


def _literal(source: str) -> object:
    try:
        return ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return object()


def _axis_expression(name: str, draft: Draft) -> str:
    for key, spec in draft["inputs"].items():
        if name in (spec["shape"] or ()):
            return f"{key}.shape[{spec['shape'].index(name)}]"
    raise Quarantine("run-value", f"no input has the axis {name}, which the reference needs")
