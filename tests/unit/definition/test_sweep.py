"""The table of every template."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from kerneldefs.definition.sweep import (
    CLEAN,
    Swept,
    as_markdown,
    as_text,
    sweep,
    with_agreement,
    with_execution,
    without_collisions,
)

from .conftest import Dump

Dumps = Callable[[str], Dump]


def swept(dump: Dump, **scalars: object) -> Swept:
    call = dataclasses.replace(dump.call, scalars={**dump.call.scalars, **scalars})
    return sweep("flashinfer.x", "x", True, dump.dumped, call, dump.template, "", None)


def test_a_template_is_clean_or_has_a_cause(dumps: Dumps) -> None:
    assert swept(dumps("rmsnorm")).cause == CLEAN
    refused = swept(dumps("trtllm MLA decode"), window_left=127)
    assert (refused.cause, refused.definition) == ("argument-not-modelled", None)
    assert "window_left=127" in refused.reason
    none = sweep("flashinfer.x", "x", True, None, None, None, "no API carries it", None)
    assert (none.cause, none.reason) == ("no-call", "no API carries it")


def test_a_definition_that_fails_its_checks_is_quarantined(dumps: Dumps) -> None:
    dump = dumps("rmsnorm")
    dumped = {**dump.dumped, "tags": [*dump.dumped["tags"], "unheard:of"]}
    row = sweep("flashinfer.x", "x", True, dumped, dump.call, dump.template, "", None)
    assert (row.cause, row.definition) == ("check-tags", None)
    assert "unheard:of" in row.reason


def test_one_name_never_has_two_contents(dumps: Dumps) -> None:
    first = swept(dumps("rmsnorm"))
    assert first.definition is not None
    tagged = dataclasses.replace(first, definition={**first.definition, "tags": []})
    other = dataclasses.replace(first, definition={**first.definition, "description": "Another."})
    found = without_collisions([first, tagged, other])
    assert [row.cause for row in found] == [CLEAN, CLEAN, "name-collision"]
    assert found[2].definition is None


def test_the_table_counts_templates_with_a_reference(dumps: Dumps) -> None:
    clean = swept(dumps("rmsnorm"))
    failed = with_execution(clean, "error", "it divides by zero")
    bare = sweep("flashinfer.y", "y", False, None, None, None, "no API carries it", None)
    text = as_text([clean, failed, bare])
    assert failed.definition is None
    assert "execution-error" in text
    assert "it divides by zero" in text
    assert text.endswith("3 templates, 2 with a reference: 1 clean (50.0 %)\n")


def test_the_document_tells_what_agreed_and_why_the_others_are_not_there(dumps: Dumps) -> None:
    clean = with_agreement(swept(dumps("rmsnorm")), "a sum by hand")
    failed = with_execution(clean, "error", "a | b")
    bare = sweep("flashinfer.y", "y", False, None, None, None, "no API carries it", None)
    text = as_markdown([clean, failed, bare], "FlashInfer 1, torch 2")
    assert text.startswith("FlashInfer 1, torch 2: 3 templates, 2 with a reference. Of these 1 are")
    assert "(50.0 %); 1 agree with" in text
    assert "| `x` | `rmsnorm_h7168` | a sum by hand |" in text
    assert "| `x` | `x` | execution-error | a \\| b |" in text
    assert "| `y` | `y` |" in text
