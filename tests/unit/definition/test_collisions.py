"""Several definitions of one name: told apart by a word, or left to collide."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from kerneldefs.definition.candidates import Candidate, Source
from kerneldefs.definition.checks import Subject, errors, run_checks
from kerneldefs.definition.collisions import WORDS, difference_words
from kerneldefs.definition.draft import DTYPES, Draft
from kerneldefs.definition.normalise import unite

from .test_checks import CLEAN

SOURCE = Source("op", "decode", "", "observed", 1)


def variant(dtype: str = "bfloat16", bias: bool = False, **changes: Any) -> Draft:
    definition = copy.deepcopy(CLEAN)
    definition["inputs"]["x"]["dtype"] = definition["outputs"]["y"]["dtype"] = dtype
    if bias:
        definition["inputs"]["bias"] = {"shape": ["hidden_size"], "dtype": dtype}
        definition["reference"] = "def run(x, eps, bias):\n    return x + eps + bias\n"
    return {**definition, **changes}


def united(*definitions: Draft) -> tuple[list[str], list[str]]:
    """Return the names that are kept, and the causes of what is not."""
    kept, lost = unite([Candidate(definition, (), (SOURCE,)) for definition in definitions])
    for candidate in kept:
        assert errors(run_checks(Subject(candidate.definition, candidate.path))) == []
    return [candidate.name for candidate in kept], [item.cause for item in lost]


def test_dtypes_are_told_apart_whatever_the_order() -> None:
    names = ["rmsnorm_h64", "rmsnorm_h64_fp16", "rmsnorm_h64_fp32"]
    three = [variant(), variant("float16"), variant("float32")]
    assert united(*three) == (names, []) == united(*reversed(three))


def test_one_alone_keeps_its_name() -> None:
    assert united(variant("float16"), variant("float16")) == (["rmsnorm_h64"], [])


def test_optional_inputs_are_told_apart() -> None:
    kept, lost = united(variant(), variant(bias=True))
    assert lost == []
    assert sorted(kept) in (
        ["rmsnorm_h64", "rmsnorm_h64_with_bias"],
        ["rmsnorm_h64", "rmsnorm_h64_without_bias"],
    )


@pytest.mark.parametrize(
    "other",
    [
        variant(reference="def run(x, eps):\n    return x - eps\n"),
        variant(axes={**CLEAN["axes"], "more": {"type": "const", "value": 3}}),
        variant(outputs={"z": CLEAN["outputs"]["y"]}),
    ],
)
def test_what_no_word_tells_is_a_collision(other: Draft) -> None:
    assert united(variant(), other) == (["rmsnorm_h64"], ["name-collision"])


def test_the_description_says_what_the_name_says() -> None:
    kept, _ = unite([Candidate(v, (), (SOURCE,)) for v in (variant(), variant("float16"))])
    assert kept[1].definition["description"] == "A norm. Its variant fp16 of the name."


def test_every_dtype_has_a_word() -> None:
    assert set(WORDS) == DTYPES and len(set(WORDS.values())) == len(WORDS)
    assert difference_words(variant(), variant()) == ()
