"""What a definition must hold to be staged: one row per check, with an id and a sentence.

The same checks run on candidates (a failing one is quarantined) and on what is staged.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kerneldefs.definition import bench, naming, source
from kerneldefs.definition.constraints import names_in
from kerneldefs.definition.draft import DTYPES, Quarantine, const_axes, used_axes
from kerneldefs.definition.execution import screen, sizes
from kerneldefs.definition.roles import sizes_by_role
from kerneldefs.definition.tags import VOCABULARY

SCHEMA = Path(__file__).parents[3] / "config" / "schemas" / "definition.schema.json"
ERROR, WARNING = "error", "warning"
UNLIMITED = 2**62  # bytes: whether a definition fits into memory is not asked here


@dataclasses.dataclass(frozen=True)
class Subject:
    """A definition to check; `path` is relative to its dataset's definitions folder."""

    definition: Any
    path: str | None = None
    expected_name: str | None = None  # what its template's naming rule gives, without suffixes


@dataclasses.dataclass(frozen=True)
class Check:
    """One check: `find` returns a sentence for each violation."""

    id: str
    sentence: str
    find: Callable[[Subject], Iterable[str]]
    severity: str = ERROR


@dataclasses.dataclass(frozen=True)
class Finding:
    """One violation."""

    check: str
    severity: str
    message: str


def run_checks(subject: Subject) -> list[Finding]:
    """Return every violation; a check that breaks is one where no other check found an error.

    What is malformed breaks many, and then it is `schema` or `run` that says so in words.
    """
    found, broken = [], []
    for check in CHECKS:
        try:
            messages = list(check.find(subject))
        except Quarantine as quarantine:
            messages = [quarantine.reason]
        except (RecursionError, MemoryError):  # of Python's parser, which says both of one fault
            messages = ["it is nested too deeply to be read"]
        except Exception as error:
            message = f"the check ended with {type(error).__name__}: {error}"
            broken.append(Finding(check.id, ERROR, message))
            continue
        found += [Finding(check.id, check.severity, message) for message in messages]
    return found if errors(found) else [*found, *broken]


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that forbid staging."""
    return [finding for finding in findings if finding.severity == ERROR]


@functools.cache
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _schema(subject: Subject) -> list[str]:
    found = sorted(
        _validator().iter_errors(subject.definition), key=lambda e: list(map(str, e.path))
    )
    return [f"{'/'.join(map(str, e.path)) or 'definition'}: {e.message[:200]}" for e in found]


def _bench(subject: Subject) -> list[str]:
    return bench.problems(subject.definition)


def _axes_declared(subject: Subject) -> list[str]:
    missing = [a for a in used_axes(subject.definition) if a not in subject.definition["axes"]]
    return [f"shapes use the axis {name}, which is not declared" for name in missing]


def _axes_used(subject: Subject) -> list[str]:
    """Const axes may stand for a scalar that the reference fixes; var axes are of shapes."""
    used = set(used_axes(subject.definition))
    axes = subject.definition["axes"].items()
    unused = [name for name, axis in axes if axis["type"] == "var" and name not in used]
    return [f"the var axis {name} is in no shape" for name in unused]


def _const_positive(subject: Subject) -> list[str]:
    return [
        f"the const axis {name} is {axis['value']}"
        for name, axis in subject.definition["axes"].items()
        if axis["type"] == "const" and not axis["value"] > 0
    ]


def _dtypes(subject: Subject) -> list[str]:
    tensors = {**subject.definition["inputs"], **subject.definition["outputs"]}
    return [
        f"{name} has the dtype {spec['dtype']}, which the dataset does not have"
        for name, spec in tensors.items()
        if spec["dtype"] not in DTYPES
    ]


def _sides(subject: Subject) -> list[str]:
    inputs, outputs = subject.definition["inputs"], subject.definition["outputs"]
    found = [
        f"there are no {side}" for side in ("inputs", "outputs") if not subject.definition[side]
    ]
    return found + [f"{name} is an input and an output" for name in inputs if name in outputs]


def _output_axes(subject: Subject) -> list[str]:
    definition = subject.definition
    bound = {dim for spec in definition["inputs"].values() for dim in spec["shape"] or ()}
    return [
        f"the var axis {name} is in outputs only, so nothing binds it before a run"
        for name in used_axes(definition)
        if name not in bound and definition["axes"][name]["type"] == "var"
    ]


def _head_groups(subject: Subject) -> list[str]:
    """A cache of another rank than was thought shows its head dim or page size as its heads."""
    definition = subject.definition
    sizes_of = sizes_by_role(definition["op_type"], const_axes(definition))
    queries, keys = sizes_of.get("qo_heads", ()), sizes_of.get("kv_heads", ())
    return [
        f"{query} query heads cannot share {key} KV heads evenly"
        for query in queries
        for key in keys
        if key > 0 and query % key
    ]


def _constraints(subject: Subject) -> list[str]:
    known = {*subject.definition["axes"], *subject.definition["inputs"]}
    found = []
    for text in subject.definition.get("constraints", []):
        names = names_in(text)
        if names is None:
            found.append(f"the constraint {text!r} is no expression")
        elif names - known:
            found.append(f"the constraint {text!r} uses {', '.join(sorted(names - known))}")
    return found


def _constraints_hold(subject: Subject) -> list[str]:
    """Sizes are chosen for which they hold; those over values are held against real inputs later.

    The execution gate makes such inputs (execution/inputs.py), which takes torch.
    """
    try:
        sizes.choose(subject.definition, budget=UNLIMITED)
    except sizes.NoSizes as error:
        return [str(error)]
    return []


def _run(subject: Subject) -> list[str]:
    reference = subject.definition["reference"]
    body = source.parse(reference).body
    runs = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == "run"]
    if len(runs) != 1:
        return [f"the reference defines run {len(runs)} times at top level"]
    if any(
        isinstance(node, ast.Name) and node.id == "run" and isinstance(node.ctx, ast.Store)
        for node in source.nodes(reference)
    ):
        return ["the reference gives the name run to something else as well"]
    arguments = runs[0].args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    inputs = list(subject.definition["inputs"])
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or names != inputs:
        return [f"run takes {ast.unparse(arguments)}, the inputs are {', '.join(inputs)}"]
    return []


def _return_arity(subject: Subject) -> list[str]:
    count = source.returned(subject.definition["reference"], "run")
    outputs = list(subject.definition["outputs"])
    if isinstance(count, tuple):
        return [] if list(count) == outputs else [f"run returns {list(count)}, not {outputs}"]
    if count is None or count == len(outputs):
        return []
    return [f"run returns {count} values for {len(outputs)} outputs"]


def _names_bound(subject: Subject) -> list[str]:
    missing = sorted(source.missing_names(subject.definition["reference"]))
    return [f"the reference uses {name}, which nothing defines" for name in missing]


def _screen(subject: Subject) -> list[str]:
    return screen.problems(subject.definition["reference"])


def _path(subject: Subject) -> list[str]:
    expected = f"{subject.definition['op_type']}/{subject.definition['name']}.json"
    if subject.path is None or subject.path == expected:
        return []
    return [f"the file is {subject.path}, its content belongs in {expected}"]


def _name(subject: Subject) -> list[str]:
    name = subject.definition["name"]
    expected = subject.expected_name
    if expected is not None and name != expected and not name.startswith(f"{expected}_"):
        return [f"the name is {name}, the naming rule gives {subject.expected_name}"]
    return naming.contradictions(name, subject.definition["axes"])


def _tags(subject: Subject) -> list[str]:
    tags = subject.definition["tags"]
    found = [f"the tag {t!r} is not in the vocabulary" for t in tags if not VOCABULARY.fullmatch(t)]
    statuses = [t for t in tags if t.startswith("status:")]
    return found + ([f"there are several statuses: {statuses}"] if len(statuses) > 1 else [])


def _description(subject: Subject) -> list[str]:
    return [] if subject.definition.get("description") else ["there is no description"]


CHECKS: tuple[Check, ...] = (
    Check("schema", "It fits config/schemas/definition.schema.json.", _schema),
    Check("bench", "flashinfer_bench.data.Definition accepts it.", _bench),
    Check("axes-declared", "Every axis of a shape is declared.", _axes_declared),
    Check("axes-used", "Every declared var axis is used by a shape.", _axes_used),
    Check("const-positive", "Every const axis has a positive size.", _const_positive),
    Check("dtypes", "Every dtype is one of the dataset's.", _dtypes),
    Check("sides", "There are inputs and outputs, and no name is both.", _sides),
    Check("output-axes", "Every var axis of an output is one of an input.", _output_axes),
    Check("head-groups", "Query heads are a multiple of KV heads.", _head_groups),
    Check("constraints", "Constraints parse and use known names only.", _constraints),
    Check("constraints-hold", "Sizes exist for which all constraints hold.", _constraints_hold),
    Check("run", "The reference has one run(), whose parameters are the inputs in order.", _run),
    Check("return-arity", "run() returns as many values as there are outputs.", _return_arity),
    Check("names-bound", "The reference uses no name that nothing defines.", _names_bound),
    Check("screen", "The reference names nothing but what may run here.", _screen, WARNING),
    Check("path", "The file is op_type/name.json.", _path),
    Check("name", "The name is what the naming rule gives for the axes.", _name),
    Check("tags", "Tags are from the vocabulary.", _tags),
    Check("description", "There is a description.", _description, WARNING),
)
