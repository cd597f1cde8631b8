"""Every repair by itself: applied twice it is as applied once, and it changes nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.capture.record import KernelCall, Template
from kerneldefs.definition.draft import Draft, Quarantine
from kerneldefs.definition.evidence import Evidence
from kerneldefs.definition.repair import evidence_of, in_dumped_order
from kerneldefs.definition.repairs import REPAIRS
from kerneldefs.definition.replaced import denied
from kerneldefs.definition.templates import retarget

from .cases import CASES
from .conftest import Dump
from .defects import DEFECTS, operator
from .made import Made

Dumps = Callable[[str], Dump]
Keeps = Callable[[Draft, Draft], bool]


def part_of(key: str) -> Keeps:
    """What stays of a mapping or list is as it was, in its order; nothing is added."""

    def keeps(before: Draft, after: Draft) -> bool:
        if isinstance(after[key], list):
            return [item for item in before[key] if item in after[key]] == after[key]
        same = {name: before[key].get(name) for name in before[key] if name in after[key]}
        return list(same.items()) == list(after[key].items())

    return keeps


def started_by(key: str) -> Keeps:
    """What was there is there still, and more comes behind it."""

    def keeps(before: Draft, after: Draft) -> bool:
        old, new = before.get(key, ""), after[key]
        items = (list(old.items()), list(new.items())) if isinstance(new, dict) else (old, new)
        return bool(items[1][: len(items[0])] == items[0])

    return keeps


def apart_from(key: str, *words: str) -> Keeps:
    """Each entry is as it was, some words of it apart."""

    def keeps(before: Draft, after: Draft) -> bool:
        one, other = (
            [(name, {k: v for k, v in e.items() if k not in words}) for name, e in d[key].items()]
            for d in (before, after)
        )
        return one == other

    return keeps


def under_other_names(before: Draft, after: Draft) -> bool:
    return list(before["outputs"].values()) == list(after["outputs"].values())


def declared_and_renamed(before: Draft, after: Draft) -> bool:
    """Literal sizes get a name; every other axis of a shape stays where it was."""
    shapes = ((before[s][n], after[s][n]) for s in ("inputs", "outputs") for n in before[s])
    kept = all(
        new == old or new == f"dim_{old}"
        for one, other in shapes
        for old, new in zip(one["shape"] or (), other["shape"] or (), strict=True)
    )
    return kept and started_by("axes")(before, after)


def all_lines_stay(before: Draft, after: Draft) -> bool:
    """Helpers are put in; of the reference only a branch that needs more than torch may go."""
    lines = after["reference"].splitlines()
    gone = [line for line in before["reference"].splitlines() if line not in lines]
    return not gone or "raise NotImplementedError" in after["reference"]


def lines_of_epsilon_change(before: Draft, after: Draft) -> bool:
    one, other = before["reference"].splitlines(), after["reference"].splitlines()
    changed = [old for old, new in zip(one, other, strict=True) if old != new]
    return all("EPS" in line or "psilon" in line for line in changed)


def anything(before: Draft, after: Draft) -> bool:
    return True  # of the one part that the repair is for


def known_keys(before: Draft, after: Draft) -> bool:
    names = all(list(before[s]) == list(after[s]) for s in ("axes", "inputs", "outputs"))
    return names and all(after[key] == before[key] for key in ("name", "op_type", "reference"))


# Repair -> the parts of a definition that it may touch, and what stays of them.
TOUCHES: dict[str, tuple[set[str], Keeps]] = {
    "extra-keys": ({"axes", "inputs", "outputs", "tags", "constraints", "description"}, known_keys),
    "reference-replaced": ({"reference"}, anything),
    "helpers": ({"reference"}, all_lines_stay),
    "cache-layout": ({"inputs"}, apart_from("inputs", "shape")),
    "per-row-scalar": ({"inputs"}, apart_from("inputs", "shape")),
    "const-axes": ({"axes"}, apart_from("axes", "value", "type")),
    "undeclared-axes": ({"axes", "inputs", "outputs"}, declared_and_renamed),
    "scratch-inputs": ({"inputs"}, part_of("inputs")),
    "absent-inputs": ({"inputs"}, part_of("inputs")),
    "axis-inputs": ({"inputs"}, part_of("inputs")),
    "flag-inputs": ({"inputs"}, part_of("inputs")),
    "ignored-inputs": ({"inputs"}, part_of("inputs")),
    "input-dtypes": ({"inputs"}, apart_from("inputs", "dtype")),
    "unreturned-outputs": ({"outputs"}, part_of("outputs")),
    "output-dtypes": ({"outputs"}, apart_from("outputs", "dtype")),
    "overlapping-outputs": ({"outputs"}, under_other_names),
    "epsilon": ({"reference", "description"}, lines_of_epsilon_change),
    "variant-description": ({"description"}, started_by("description")),
    "logical-weights": ({"description"}, started_by("description")),
    "run": ({"reference"}, anything),
    "unused-axes": ({"axes"}, part_of("axes")),
    "output-axes": ({"axes"}, apart_from("axes", "value", "type")),
    "constraints": ({"constraints"}, part_of("constraints")),
    "missing-constraints": ({"constraints"}, started_by("constraints")),
    "tags": ({"tags"}, anything),
    "name": ({"name"}, anything),
}


def applied(draft: Draft, evidence: Evidence) -> Iterator[str]:
    """Apply every repair, hold each against what it may do, and yield those that did something."""
    for step in REPAIRS:
        before = copy.deepcopy(draft)
        after = step.apply(draft, evidence)
        assert draft == before, f"{step.id} changed what it was given"
        assert step.apply(after, evidence) == after, f"{step.id} is not idempotent"
        touched = {k for k in {*before, *after} if k in after and after[k] != before.get(k)}
        parts, keeps = TOUCHES[step.id]
        assert touched <= parts, f"{step.id} touched {sorted(touched - parts)}"
        assert keeps(before, after), f"{step.id} changed more than it is for"
        if after != before:
            yield step.id
        draft = after
    for step in REPAIRS:
        if step.id != "reference-replaced":  # it would take away what run() was given since
            assert step.apply(draft, evidence) == draft, f"{step.id} repairs what is repaired"


def start(dumped: Draft, call: KernelCall, template: Template) -> tuple[Draft, Evidence]:
    """Return what the repairs start from, as `repair` does."""
    evidence = evidence_of(call, in_dumped_order(template, dumped))
    own = retarget(dumped, evidence)
    return own[:2] if own else (dumped, evidence)


def steps_of(made: Made) -> set[str]:
    return set(applied(*start(made.dumped(), made.call(), made.template())))


@given(st.sets(st.sampled_from(sorted(DEFECTS)), max_size=8))
def test_any_defects_together(defects: set[str]) -> None:
    steps = steps_of(operator(defects))
    if "overlapping-outputs" in defects:
        defects -= {"output-dtypes"}  # what is written in place has its buffer's dtype
    assert steps >= defects & TOUCHES.keys()


@pytest.mark.parametrize("name", sorted({*CASES} - {"allreduce fusion"}))
def test_calls_of_real_models(dumps: Dumps, name: str) -> None:
    dump = dumps(name)
    assert set(applied(*start(dump.dumped, dump.call, dump.template)))


def test_every_repair_is_needed_by_a_test(dumps: Dumps) -> None:
    found: set[str] = set()
    for name in {*CASES} - {"allreduce fusion"}:
        dump = dumps(name)
        found |= set(applied(*start(dump.dumped, dump.call, dump.template)))
    for defect in DEFECTS:
        found |= steps_of(operator({defect}))
    assert found == {step.id for step in REPAIRS} == TOUCHES.keys()


@pytest.mark.slow
def test_every_template_of_flashinfer() -> None:
    from kerneldefs.capture.registry import template_calls

    found: dict[str, int] = {}
    for row in template_calls():
        if row.dumped is None or row.call is None or row.template is None:
            continue
        draft, evidence = start(row.dumped, row.call, row.template)
        if denied(evidence.prefix) or not draft.get("reference"):
            continue
        steps: Any = applied(draft, evidence)
        try:
            for step in steps:
                found[step] = found.get(step, 0) + 1
        except Quarantine:
            continue
    assert len(found) > 20 and sum(found.values()) > 500
