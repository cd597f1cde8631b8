"""Hundreds of corruptions of true definitions: each is found, or is shown to change nothing.

The definitions are made of what the installed FlashInfer dumps. A corruption must be found by the
checks, by the comparison with the call, or when the reference runs; those three stand between a
capture and what is staged. What passes all of them must have the original's signature.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from kerneldefs.definition import crosscheck
from kerneldefs.definition.checks import Subject, errors, run_checks
from kerneldefs.definition.draft import Draft, Quarantine, const_axes
from kerneldefs.definition.execution.runner import run_references
from kerneldefs.definition.naming import definition_name
from kerneldefs.definition.signature import signature

from .conftest import Dump
from .mutations import MUTATIONS, mutated

SEED = 20261124
EACH = 24  # corruptions of each kind
CASES = (
    *("rmsnorm", "fused add rmsnorm", "rmsnorm eps 1e-5", "min-p", "top-k renorm", "merge state"),
    *("paged decode", "ragged prefill", "MLA decode", "MLA prefill", "trtllm decode"),
    "moe DeepSeek routing",
)


def found_before_running(dump: Dump, original: Draft, corrupted: Draft) -> str | None:
    """Return what finds a corruption without running it: a check's id or a quarantine's cause."""
    path = f"{original['op_type']}/{original['name']}.json"
    evidence = dump.repaired().evidence
    failed = errors(run_checks(Subject(corrupted, path)))
    if failed:
        return failed[0].check
    try:
        named = definition_name(evidence.template, const_axes(corrupted))
        if errors(run_checks(Subject(corrupted, expected_name=named))):
            return "name"
        crosscheck.require(corrupted, dump.call, evidence)
    except Quarantine as quarantine:
        return quarantine.cause
    return None


def test_every_corruption_is_found_or_harmless(dumps: Callable[[str], Dump]) -> None:
    choose = random.Random(SEED)
    finders: Counter[str] = Counter()
    waiting: list[tuple[str, Draft, Draft]] = []
    for mutation in MUTATIONS:
        made = 0
        while made < EACH:
            dump = dumps(choose.choice(CASES))
            original = dump.repaired().definition
            result = mutated(original, mutation, choose)
            if result is None:
                continue
            made += 1
            finder = found_before_running(dump, original, result[0])
            if finder is None:
                waiting.append((f"{original['name']}: {result[1]}", original, result[0]))
            else:
                finders[finder] += 1
    assert sum(finders.values()) + len(waiting) == EACH * len(MUTATIONS) >= 200
    outcomes = run_references([corrupted for _, _, corrupted in waiting])
    passed = [item for item, outcome in zip(waiting, outcomes, strict=True) if outcome.passed]
    finders["execution"] = len(waiting) - len(passed)
    harmful = [what for what, one, other in passed if signature(one) != signature(other)]
    print(dict(finders), "harmless:", [what for what, *_ in passed])
    assert harmful == []
    assert len(finders) > 8  # no single check does all the work


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_a_mutation_changes_something(
    mutation: Callable[[Draft, random.Random], str | None], dumps: Callable[[str], Dump]
) -> None:
    original = dumps("paged decode").repaired().definition
    result = mutated(original, mutation, random.Random(1))
    if result is not None:
        assert list(map(str, result[0].items())) != list(map(str, original.items()))
