"""A folder of definitions is asked what its references do, as staging asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.dataset.findings import check_tree, execute
from kerneldefs.definition.execution import gate, runner
from kerneldefs.definition.execution.limits import Outcome, failed

from ..conftest import Dump

ALONE = Outcome(True, "passed", "")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Outcome]:
    """Answer for the server, by name."""
    known: dict[str, Outcome] = {}

    def serve(definitions: list[Any], limits: object) -> list[Outcome]:
        return [known[definition["name"]] for definition in definitions]

    monkeypatch.setattr(runner, "_serve", serve)
    return known


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


@pytest.mark.parametrize(
    ("status", "agrees", "then"),
    [
        ("status:unverified", True, "status:verified"),
        ("status:unverified", False, "status:unverified"),
        ("status:experimental", True, "status:experimental"),  # FlashInfer's word for its function
        ("fused", True, "status:verified"),
    ],
)
def test_a_definition_has_one_status(status: str, agrees: bool, then: str) -> None:
    outcome = Outcome(True, "passed", "", agreement={"agrees": agrees})
    tags = gate.tagged({"tags": ["moe", status]}, outcome)["tags"]
    assert tags == sorted({"moe", then} | ({status} - {"status:unverified"}))
