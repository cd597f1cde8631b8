"""The evaluator gives what Python would, for constraints and for nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.definition.execution.evaluate import Array, Unevaluable, evaluate, names_of

OFFSETS = Array([0, 2, 5], (3,))
TABLE = Array([[1, 2], [3, 4]], (2, 2))
NAMES = {"n": 5, "batch_size": 2, "offsets": OFFSETS, "table": TABLE, "scale": 0.5}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n == offsets[-1].item()", True),
        ("n == offsets[-1]", True),
        ("n == offsets[-2].item()", False),
        ("offsets.shape[0] == batch_size + 1", True),
        ("len(offsets) == 3", True),
        ("table.shape[-1] == 2 and table.numel() == 4", True),
        ("table[1][0].item()", 3),
        ("sum(offsets[1:]) + max(offsets) + min(table[0])", 13),
        ("table.max() - table.min() + table.sum()", 13),
        ("all(offsets[i] <= offsets[i + 1] for i in (0, 1))", True),
        ("any(x > 4 for x in offsets if x != 5)", False),
        ("n in (4, 5) and n not in [6]", True),
        ("0 < batch_size <= n < 6", True),
        ("((n + 127) // 128) * 128 % 7", 2),
        ("-n + 1.5 / scale", -2.0),
        ("n if not batch_size else batch_size", 2),
        ("n > 9 or scale", 0.5),
    ],
)
def test_constraints(text: str, expected: object) -> None:
    assert evaluate(text, NAMES) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n ==",
        "unknown == 3",
        "__import__('os')",
        "open('x')",
        "n.__class__",
        "offsets.__class__",
        "offsets.values",
        "offsets.tolist()",
        "offsets.shape.__class__",
        "().__class__",
        "'a' == 'a'",
        "9 ** 9 ** 9",
        "9999999999 * 9999999999 * 9999999999",
        "1 << 99",
        "(lambda: 1)()",
        "[x for x in offsets]",
        "(x := 3)",
        "f'{n}'",
        "n[0]",
        "offsets[0.5]",
        "offsets[7]",
        "offsets.item()",
        "n // 0",
        "len(n)",
        "len(offsets, key=3)",
        "n if",
        "-" * 990 + "n",
        "n + " * 300 + "n",
        "all(y for x in offsets for y in table)",
        "x" * 2000,
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(Unevaluable):
        evaluate(text, NAMES)


def test_loops_end() -> None:
    long = Array([1] * 50_000, (50_000,))
    with pytest.raises(Unevaluable, match="steps"):
        evaluate("sum(x + x + x + x for x in long)", {"long": long})


def test_names() -> None:
    assert names_of("total == sum(x for x in p)") == {"total", "p", "x"}
    assert names_of("total ==") == set()


@given(st.text(max_size=60))
def test_any_text_has_a_value_or_none(text: str) -> None:
    with contextlib.suppress(Unevaluable):
        evaluate(text, NAMES)


def expressions() -> st.SearchStrategy[str]:
    """Arithmetic and comparisons over n and small integers."""
    leaves = st.one_of(st.just("n"), st.integers(0, 20).map(str))
    operators = st.sampled_from(["+", "-", "*", "//", "%", "==", "<", ">=", "and", "or", "in"])

    def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.tuples(parts, operators, parts).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
            st.tuples(parts, parts).map(lambda t: f"({t[0]}) in ({t[1]}, 3)"),
            st.tuples(parts, parts, parts).map(lambda t: f"({t[0]}) if ({t[1]}) else ({t[2]})"),
            parts.map(lambda part: f"not ({part})"),
        )

    return st.recursive(leaves, joined, max_leaves=8)


@given(expressions())
def test_arithmetic_is_pythons(text: str) -> None:
    try:
        expected = eval(text, {"n": 5})
    except (ArithmeticError, TypeError):
        with pytest.raises(Unevaluable):
            evaluate(text, {"n": 5})
        return
    assert evaluate(text, {"n": 5}) == expected
