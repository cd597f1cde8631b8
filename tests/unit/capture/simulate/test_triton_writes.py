"""Reading from a Triton kernel's source what it may write."""

import textwrap
import types

import pytest
from kerneldefs.capture.simulate.triton_writes import written


def kernel(source, names, **namespace):
    function = types.SimpleNamespace(__globals__=namespace)
    return types.SimpleNamespace(src=textwrap.dedent(source), arg_names=names, fn=function)


class Kernel(types.SimpleNamespace):
    __hash__ = object.__hash__


def jit(source, *names, **namespace):
    return Kernel(**vars(kernel(source, list(names), **namespace)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("tl.store(out + tl.arange(0, 4), tl.load(x))", {"out"}),
        ("at = out + n\n    tl.store(at, 1)", {"out", "n"}),
        ("tl.atomic_add(out, 1)", {"out"}),
        ("i = tl.load(x)\n    tl.store(out + i, 1)", {"out"}),
        ("tl.store(pointer=out, value=x)", {"out"}),
        ("for k in range(n):\n        out += k\n        tl.store(out, x)", {"out", "n"}),
        ("y = tl.load(x) + tl.load(out)", set()),
    ],
)
def test_what_a_store_may_reach_is_written(body, expected):
    found = written(jit(f"def k(x, out, n):\n    {body}\n", "x", "out", "n"))
    assert found == expected


def test_what_a_helper_writes_is_written():
    helper = jit("def put(a, b):\n    tl.store(b, tl.load(a))\n", "a", "b")
    source = "def k(x, out):\n    put(x, b=out)\n"
    assert written(jit(source, "x", "out", put=helper)) == {"out"}
    module = types.SimpleNamespace(put=helper)
    assert written(jit(source.replace("put(", "m.put("), "x", "out", m=module)) == {"out"}


def test_a_source_that_cannot_be_read_may_write_everything():
    assert written(jit("not python (", "x", "out")) == {"x", "out"}
