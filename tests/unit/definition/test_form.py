"""Dumps that may come from elsewhere: their form is checked before anything reads them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.form import require_form

DUMP: dict[str, Any] = {
    "name": "n",
    "op_type": "o",
    "description": "",
    "tags": ["fi_api:flashinfer.f"],
    "axes": {"a": {"type": "const", "value": 1}, "b": {"type": "var"}},
    "inputs": {"x": {"shape": ["a"], "dtype": "unknown", "optional": True}},
    "outputs": {"y": {"shape": None, "dtype": "float32"}},
}


def test_what_flashinfer_writes_passes() -> None:
    assert require_form(DUMP, "n.json") == DUMP


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("name"),
        lambda d: d.update(op_type=""),
        lambda d: d.update(reference=3),
        lambda d: d.update(tags="fi_api"),
        lambda d: d.update(constraints=[1]),
        lambda d: d.update(axes=[]),
        lambda d: d["axes"].update(a={"type": "const", "value": True}),
        lambda d: d["axes"].update(a={"type": "other"}),
        lambda d: d["axes"].update(a=3),
        lambda d: d["inputs"].update(x={"dtype": "float32"}),
        lambda d: d["inputs"].update(x={"shape": [1], "dtype": "float32"}),
        lambda d: d["outputs"].update(y={"shape": None}),
    ],
)
def test_anything_else_is_quarantined(change: Callable[[dict[str, Any]], object]) -> None:
    data = copy.deepcopy(DUMP)
    change(data)
    with pytest.raises(Quarantine, match=r"dump-form: n\.json"):
        require_form(data, "n.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from([*DUMP, "reference", "constraints"]), JSON)
def test_no_value_breaks_the_form_check(key: str, value: object) -> None:
    try:
        require_form({**DUMP, key: value}, "n.json")
    except Quarantine as error:
        assert error.cause == "dump-form"
