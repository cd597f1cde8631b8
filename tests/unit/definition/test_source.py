"""Reading references: entry, parameters, what they return, what they miss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.definition import source
from kerneldefs.definition.draft import Quarantine

HELPED = """
import torch

def helper(x, **kwargs):
    return x * kwargs.get("scale", 1.0), kwargs["bias"]

@torch.no_grad()
def main(q, k, /, v, *, scale=None, flag=True, **kwargs):
    v[0] = 1
    k.mul_(2)
    return helper(q, **kwargs)
"""


def test_the_entry_is_the_last_function_or_run() -> None:
    assert source.entry(HELPED).name == "main"
    assert source.entry("def run(x):\n    return x\n\ndef after(y):\n    return y\n").name == "run"


def test_parameters_have_their_defaults_and_keywords_are_found_in_helpers() -> None:
    entry = source.entry(HELPED)
    assert entry.parameters == {"q": None, "k": None, "v": None, "scale": "None", "flag": "True"}
    assert entry.positional_only == ("q", "k")
    assert entry.keywords == {"scale", "bias"}
    assert entry.writes == {"v", "k"}
    assert entry.reads == {"q", "v", "k"}


def test_without_kwargs_of_its_own_the_entry_takes_no_keywords() -> None:
    text = "def helper(**kwargs):\n    return kwargs['a']\n\ndef main(x):\n    return x\n"
    assert source.entry(text).keywords == frozenset()


@pytest.mark.parametrize("text", ["def f(:", "x = 1", "\0"])
def test_text_without_a_function_is_a_quarantine(text: str) -> None:
    with pytest.raises(Quarantine, match="reference-"):
        source.entry(text)


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("return x", 1),
        ("return x, x", 2),
        ("return", 0),
        ("pass", 0),
        ("return None", 0),
        ("return {'a': x, 'b': x}", ("a", "b")),
        ("return helper(x)", 2),
        ("y = helper(x)\n    return y", 2),
        ("y = x.clone()\n    return y", 1),
        ("a, b = helper(x)\n    return a", 1),
        ("if x:\n        return x, x\n    return x", None),
        ("return (x if x else x.y)", 1),
        ("return other(x)", None),
        ("f = lambda: (1, 2)\n    return x", 1),
    ],
)
def test_how_much_a_function_returns(body: str, count: object) -> None:
    text = f"def helper(x):\n    return x, x\n\ndef main(x):\n    {body}\n"
    assert source.returned(text, "main") == count


def test_missing_names_are_global_and_not_only_annotations() -> None:
    text = (
        "import torch\n"
        "def main(x: Optional[int]) -> Tensor:\n"
        "    y = [z for z in x]\n"
        "    return helper(torch.add(y, LIMIT))\n"
    )
    assert source.missing_names(text) == {"helper", "LIMIT"}


def test_a_local_name_does_not_hide_a_missing_global_of_another_function() -> None:
    text = "def one():\n    scale = 1\n    return scale\n\ndef two():\n    return scale\n"
    assert source.missing_names(text) == {"scale"}


def test_imports_are_named_by_package() -> None:
    text = "import a.b\nfrom c.d import e\nfrom . import f\ndef main():\n    import os\n"
    assert source.imported(text) == {"a", "c", ".", "os"}


def test_constants_are_replaced_everywhere_and_nothing_else_is() -> None:
    text = 'A = 1e-6  # ε\ndef f(x, A=3):\n    A = -1\n    AB = 5\n    return "A = 1"\n'
    assert source.constants(text, "A") == (1e-6, -1)
    changed = source.with_constant(text, "A", 2)
    assert changed == text.replace("1e-6", "2").replace("A = -1", "A = 2")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_written_into_a_reference_is_read_back(value: float) -> None:
    text = source.with_constant("EPS = 1e-6\ndef run(x):\n    return x + EPS\n", "EPS", value)
    assert source.constants(text, "EPS") == (value,)
    assert source.with_constant(text, "EPS", value) == text


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading(text: str) -> None:
    try:
        source.entry(text)
        source.missing_names(text)
    except Quarantine:
        pass
