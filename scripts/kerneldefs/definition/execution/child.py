"""One reference from its text to a verdict, in the confined process that ran it."""

from __future__ import annotations

import builtins
import dataclasses
import operator
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch

from kerneldefs.definition.execution import judge, screen, verify
from kerneldefs.definition.execution.allowed import BUILTINS, MODULES
from kerneldefs.definition.execution.inputs import Inputs, NoInputs, generate
from kerneldefs.definition.execution.sizes import NoSizes

SEED = 0
_FILE = "<reference>"


@dataclasses.dataclass(frozen=True)
class Failure(Exception):
    """Why a reference is not fit to be staged: a kind to count by, and a sentence."""

    kind: str
    reason: str


def examine(definition: Mapping[str, Any], budget: int) -> dict[str, Any]:
    """Return the verdict on a definition's reference as JSON data; never raises.

    Runs it twice on the same inputs under the same seed, then beside an independent implementation
    where there is one.
    """
    verdict: dict[str, Any] = {"passed": False, "scaled": [], "seconds": 0.0, "agreement": None}
    try:
        _examine(definition, budget, verdict)
    except Failure as failure:
        return verdict | {"kind": failure.kind, "reason": failure.reason}
    except (NoSizes, NoInputs) as error:
        return verdict | {"kind": "inputs", "reason": str(error)}
    except BaseException as error:
        return verdict | {"kind": _kind(error), "reason": described(error)}
    return verdict | {"passed": True, "kind": "passed", "reason": ""}


def _examine(definition: Mapping[str, Any], budget: int, verdict: dict[str, Any]) -> None:
    refused = screen.problems(definition["reference"])
    if refused:
        raise Failure("screen", "; ".join(refused[:5]))
    inputs = generate(definition, SEED, budget)
    verdict["scaled"] = list(inputs.sizes.scaled)
    run = loaded(definition["reference"])
    outputs = _twice(run, inputs, definition, verdict)
    agreement = verdict["agreement"] = _agreement(definition, inputs, _known(run, inputs, outputs))
    if agreement and agreement["outputs"] and not agreement["agrees"]:
        raise Failure("disagrees", _disagreement(agreement))


def _agreement(
    definition: Mapping[str, Any], inputs: Inputs, run: Callable[..., list[Any]]
) -> dict[str, Any] | None:
    """Compare; a comparison that cannot be made leaves the reference unverified, and says why."""
    try:
        return verify.agreement(definition, inputs.values, run)
    except Exception as error:
        return {"against": described(error), "outputs": {}, "agrees": False}


def _twice(
    run: Callable[..., list[Any]],
    inputs: Inputs,
    definition: Mapping[str, Any],
    verdict: dict[str, Any],
) -> list[Any]:
    """Run twice, with the same outputs to the bit, which are returned."""
    before = {k: v.clone() if torch.is_tensor(v) else v for k, v in inputs.values.items()}
    start = time.perf_counter()
    first = _once(run, inputs, before, definition)
    verdict["seconds"] = round(time.perf_counter() - start, 3)
    second = _once(run, inputs, before, definition)
    for name, one, other in zip(definition["outputs"], first, second, strict=True):
        if not judge.same(one, other):
            raise Failure("nondeterministic", f"{name} differs between two runs under one seed")
    return first


def _known(
    run: Callable[..., list[Any]], inputs: Inputs, outputs: list[Any]
) -> Callable[..., list[Any]]:
    """Return run() that need not run a third time on inputs whose outputs are known."""
    known = list(inputs.values.values())

    def again(*values: Any) -> list[Any]:
        same = len(values) == len(known) and all(map(operator.is_, values, known))
        return outputs if same else run(*values)

    return again


def _once(
    run: Callable[..., list[Any]],
    inputs: Inputs,
    before: Mapping[str, Any],
    definition: Mapping[str, Any],
) -> list[Any]:
    """Run once on inputs that must stay as they were; return copies of the outputs."""
    outputs = run(*inputs.values.values())
    found = judge.output_problems(definition, inputs.sizes.axes, outputs)
    changed = judge.changed(before, inputs.values)
    if changed:
        names = ", ".join(changed)
        found.append(("mutated", f"{names} changed in place, and no output declares it"))
    if found:
        raise Failure(found[0][0], "; ".join(sentence for _, sentence in found))
    return [value.clone() if torch.is_tensor(value) else value for value in outputs]


def loaded(reference: str) -> Callable[..., list[Any]]:
    """Return a screened reference's run(), which seeds torch and returns a list of outputs.

    Its built-ins are the allowed ones only, and its imports the allowed modules.
    """
    allowed = {name: getattr(builtins, name) for name in BUILTINS}
    allowed |= {"__build_class__": builtins.__build_class__, "__import__": _import}
    scope: dict[str, Any] = {"__builtins__": allowed, "__name__": "reference"}
    exec(compile(reference, _FILE, "exec", dont_inherit=True), scope)
    run = scope.get("run")
    if not callable(run):
        raise Failure("error", "the reference defines no run()")

    def seeded(*values: Any) -> list[Any]:
        torch.manual_seed(SEED)
        return judge.as_outputs(run(*values))

    return seeded


def _import(name: str, *rest: Any, **others: Any) -> Any:
    """Import what the screen lets pass; torch's own C++ asks for more of torch through this too."""
    if name.split(".")[0] not in MODULES or name not in sys.modules:
        raise ImportError(f"{name} may not be imported")
    return builtins.__import__(name, *rest, **others)


def described(error: BaseException) -> str:
    """Return an exception in one line, with the reference's line that raised it."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == _FILE]
    return f"{text} (line {frames[-1].lineno})" if frames else text


def _kind(error: BaseException) -> str:
    memory = isinstance(error, MemoryError) or "allocate memory" in str(error)
    return "memory" if memory else "error"


def _disagreement(agreement: Mapping[str, Any]) -> str:
    found = [
        f"{name} differs from {agreement['against']} by up to {output['largest']:.3g}"
        for name, output in agreement["outputs"].items()
        if not output["agrees"]
    ]
    return "; ".join(found)
