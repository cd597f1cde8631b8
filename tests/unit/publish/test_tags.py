"""Tags are united in any order, and nothing else of a file changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.errors import KerneldefsError
from kerneldefs.publish.tags import united, with_tags

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
TAGS = st.lists(WORDS.map("model:{}".format), max_size=4, unique=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(WORDS, VALUES, max_size=4),
    TAGS,
    TAGS,
    st.sampled_from([None, 1, 2, 4, "\t"]),
    st.booleans(),
)
def test_only_the_tags_change(
    others: dict[str, Any], tags: list[str], added: list[str], indent: Any, ascii_only: bool
) -> None:
    definition = {**others, "tags": tags, "zz": {"tags": ["not these"]}}
    text = json.dumps(definition, indent=indent, ensure_ascii=ascii_only) + "\n"
    after = with_tags(text, added)
    assert json.loads(after) == {**definition, "tags": json.loads(after)["tags"]}
    assert set(json.loads(after)["tags"]) == {*tags, *added}
    start = text.index('"tags"')
    assert after[:start] == text[:start]
    assert after[len(after) - 20 :] == text[len(text) - 20 :]
    assert with_tags(after, added) == after


@given(TAGS, TAGS, TAGS)
def test_the_order_of_publishing_does_not_matter(
    tags: list[str], one: list[str], other: list[str]
) -> None:
    text = json.dumps({"tags": sorted(tags)}, indent=2)
    assert with_tags(with_tags(text, one), other) == with_tags(with_tags(text, other), one)


def test_a_file_keeps_its_status() -> None:
    assert united(["status:verified"], ["status:unverified", "tp:8"]) == ["status:verified", "tp:8"]
    assert united([], ["status:unverified"]) == ["status:unverified"]


def test_a_file_that_has_all_the_tags_is_not_written_anew() -> None:
    text = '{"tags": ["b",   "a"]}'
    assert with_tags(text, ["a"]) == text


def test_a_file_without_tags_is_refused() -> None:
    with pytest.raises(KerneldefsError, match="has no tags"):
        with_tags('{"name": "x"}', ["a"])
