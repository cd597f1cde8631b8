"""The gate between normalising and staging, and the same question to a folder of definitions."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.dataset.findings import check_tree, execute
from kerneldefs.definition.candidates import Candidate, Source
from kerneldefs.definition.execution import gate, runner
from kerneldefs.definition.execution.limits import Outcome, failed
from kerneldefs.definition.normalise import normalise
from kerneldefs.errors import KerneldefsError

from ..conftest import Dump
from ..test_normalise import write_capture
from ..test_words import CONFIG

SOURCE = Source("op", "decode", "layer", "observed", 2)
AGREED = Outcome(True, "passed", "", agreement={"against": "loop", "agrees": True})
ALONE = Outcome(True, "passed", "")


def candidate(name: str) -> Candidate:
    """Return a candidate; its definition is only looked at by name."""
    definition = {"name": name, "op_type": "t", "tags": ["fi_api:f", "status:unverified"]}
    return Candidate(definition, (), (SOURCE,))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Outcome]:
    """Answer for the server, by name."""
    known: dict[str, Outcome] = {}

    def serve(definitions: list[Any], limits: object) -> list[Outcome]:
        return [known[definition["name"]] for definition in definitions]

    monkeypatch.setattr(runner, "_serve", serve)
    return known


def test_failing_candidates_are_put_aside_with_the_reason(answers: dict[str, Outcome]) -> None:
    answers |= {"a": ALONE, "b": failed("nan", "y has NaN in it"), "c": AGREED}
    kept, lost = gate.through([candidate(name) for name in "abc"])
    assert [item.name for item in kept] == ["a", "c"]
    assert [(item.name, item.cause, item.sources) for item in lost] == [
        ("b", "reference-nan", (SOURCE,))
    ]
    assert lost[0].reason == "the reference does not run as declared: y has NaN in it"


def test_only_agreement_makes_verified(answers: dict[str, Outcome]) -> None:
    answers |= {"a": ALONE, "b": AGREED}
    kept, _ = gate.through([candidate(name) for name in "ab"])
    assert [item.definition["tags"] for item in kept] == [
        ["fi_api:f", "status:unverified"],
        ["fi_api:f", "status:verified"],
    ]


def test_a_machine_without_a_fence_is_an_error(answers: dict[str, Outcome]) -> None:
    answers["a"] = failed("unconfined", "no fence")
    with pytest.raises(KerneldefsError, match="no fence; go on without running references"):
        gate.through([candidate("a")])


def test_a_capture_goes_through_the_gate(
    answers: dict[str, Outcome], dumps: Callable[[str], Dump], tmp_path: Path
) -> None:
    capture = write_capture(tmp_path / "capture", [dumps("rmsnorm"), dumps("paged decode")])
    open_gate = normalise(CONFIG, capture)
    answers |= {c.name: AGREED for c in open_gate.candidates}
    result = normalise(CONFIG, capture, functools.partial(gate.through, cache=tmp_path / "cache"))
    assert [c.name for c in result.candidates] == [c.name for c in open_gate.candidates]
    assert sorted(result.index["definitions"]) == [c.name for c in result.candidates]
    assert all("status:verified" in c.definition["tags"] for c in result.candidates)
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 2
    closed = normalise(CONFIG, capture, lambda found: ([], gate_all(found)))
    assert closed.candidates == () and closed.index["definitions"] == {}
    assert [item.cause for item in closed.quarantined] == ["closed", "closed"]


def gate_all(found: Any) -> list[Any]:
    """Put everything aside."""
    return [gate.Quarantined(item.name, "closed", "closed", item.sources) for item in found]


def test_a_folder_is_executed_where_it_has_no_errors(
    answers: dict[str, Outcome], dumps: Callable[[str], Dump], tmp_path: Path
) -> None:
    clean = dumps("rmsnorm").repaired().definition
    for name, changes in (("rmsnorm_h7168", {}), ("rmsnorm_h1", {"op_type": 3})):
        path = tmp_path / "rmsnorm" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**clean, "name": name, **changes}))
    answers["rmsnorm_h7168"] = ALONE
    before = check_tree(tmp_path)
    assert [bool(item.errors) for item in before] == [True, False]
    assert execute(before) == before
    answers["rmsnorm_h7168"] = failed("nan", "y has NaN in it")
    broken, ran = execute(before)
    assert broken == before[0]
    assert [(f.check, f.message) for f in ran.errors] == [
        ("reference", "the reference fails: y has NaN in it")
    ]
