"""The screen: what references need passes, everything else is a sentence."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.definition.execution.allowed import ATTRIBUTES, BUILTINS, NAMES
from kerneldefs.definition.execution.screen import problems
from kerneldefs.definition.own import REFERENCES, reference

from .make import body

GOOD = """
from __future__ import annotations
import math
import torch
import torch.nn.functional as F
from enum import IntEnum
from typing import Optional


class Kind(IntEnum):
    \"\"\"Kinds.\"\"\"
    plain = 0
    gated = 1


@torch.no_grad()
def helper(x: torch.Tensor, kind: Optional[int] = None, **unused) -> torch.Tensor:
    if kind == Kind.gated or kind is None:
        x = F.silu(x) * math.sqrt(2.0)
    for i in range(x.shape[0]):
        x[i] += [j for j in (1, 2)][0]
    return torch.where(x > 0, x, torch.full_like(x, -float("inf"))).to(torch.bfloat16)


def run(x):
    try:
        return helper(x.clone(), kind=Kind.gated.value)
    except ValueError as error:
        raise RuntimeError(f"{error!r:>10}") from None
"""

HOSTILE = {
    "import os": "import os",
    "import below torch": "import torch.hub",
    "import as": "import subprocess as torch",
    "import from": "from os import system",
    "import star": "from torch import *",
    "import relative": "from . import x",
    "module of a module": "import math\nx = math.__loader__",
    "torch.os": "import torch\nx = torch.os.system('true')",
    "torch.load": "import torch\nx = torch.load('file')",
    "torch.save": "from torch import save",
    "torch.ops": "import torch\ntorch.ops.load_library('x.so')",
    "torch.jit": "import torch\ntorch.jit.load('x')",
    "torch.utils": "import torch\ntorch.utils.cpp_extension.load('x')",
    "torch.compile": "import torch\nf = torch.compile(len)",
    "torch.from_file": "import torch\nx = torch.from_file('x')",
    "torch.multiprocessing": "import torch\ntorch.multiprocessing.spawn(len)",
    "torch.distributed": "import torch.distributed as dist",
    "numpy file": "import numpy as np\nx = np.fromfile('x')",
    "numpy load": "from numpy import load",
    "array to file": "import numpy as np\nnp.zeros(3).tofile('x')",
    "tensor to array": body("return x.numpy()"),
    "tensor storage": body("return x.untyped_storage()"),
    "tensor hook": body("x.register_hook(print)"),
    "tensor apply": body("x.apply_(len)"),
    "alias of a module": "import torch\nt = torch\nt.load('x')",
    "module in a list": "import torch\n[torch][0].load('x')",
    "submodule as a value": "import torch\nn = torch.nn",
    "module as default": "import torch\ndef run(x, t=torch): return t",
    "module as argument": "import torch\nlen(torch)",
    "module rebound": "import torch\ntorch = 3",
    "module as parameter": "import torch\ndef run(torch): return torch.zeros(3)",
    "two modules by one name": "import torch as m\nimport math as m",
    "class escape": "x = ().__class__.__bases__[0].__subclasses__()",
    "globals of a function": "def run(x): return run.__globals__",
    "frame of a generator": "x = (i for i in ()).gi_frame",
    "error's traceback": "try:\n    pass\nexcept Exception as e:\n    e.__traceback__",
    "format": "'{0.__class__}'.format(3)",
    "format map": "'{x}'.format_map({})",
    "getattr": "getattr(3, 'real')",
    "eval": "eval('3')",
    "exec": "exec('3')",
    "compile": "compile('3', '', 'eval')",
    "open": "open('/etc/passwd')",
    "dunder import": "__import__('os')",
    "builtins": "__builtins__",
    "globals": "globals()",
    "vars": "vars()",
    "input": "input()",
    "breakpoint": "breakpoint()",
    "type": "type('X', (), {})",
    "object": "object()",
    "memoryview": "memoryview(b'')",
    "print": "print('x')",
    "set attribute": body("x.data = 3"),
    "set torch's attribute": "import torch\ntorch.isnan = len",
    "delete attribute": body("del x.grad"),
    "loop over attribute": body("for x.real in ():", "    pass"),
    "global": "def run(x):\n    global y\n    y = 3",
    "nonlocal": "def run(x):\n    y = 1\n    def f():\n        nonlocal y\n",
    "async": "async def run(x): pass",
    "yield": "def run(x): yield x",
    "match": "match 3:\n    case int(real=x): pass",
    "dunder binding": "__builtins__ = {}",
    "dunder parameter": "def run(__import__): pass",
    "class": "class A:\n    def __del__(self): pass",
    "class from a call": "class A(dict): pass",
    "enum with a method": "from enum import Enum\nclass A(Enum):\n    def f(self): pass",
    "enum with a metaclass": "from enum import Enum\nclass A(Enum, metaclass=dict): pass",
    "enum lends attributes": "from enum import Enum\nimport numpy as np\n"
    "class A(Enum):\n    tofile = 1\nnp.zeros(3).tofile('x')",
    "enum rebound": "from enum import Enum\nimport numpy as np\n"
    "class A(Enum):\n    tofile = 1\nA = np.zeros(3)\nA.tofile('x')",
    "decorator": "def f(g): return g\n@f\ndef run(x): pass",
    "not Python": "def run(x:",
    "null byte": "x = '\0'\0",
    "deep": "(" * 5000 + ")" * 5000,
    "deep signs": "-" * 100_000 + "1",
    "long": "x = 1\n" * 100_000,
}


def test_a_reference_may_compute() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize("name", sorted(path.stem for path in REFERENCES.glob("*.py")))
def test_our_references_pass(name: str) -> None:
    assert problems(reference(name, {})) == []


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_text_is_refused(what: str) -> None:
    found = problems(HOSTILE[what])
    assert found
    assert all("\n" not in sentence for sentence in found)


def test_sentences_name_the_thing_and_its_line() -> None:
    assert problems("import torch\n\nx = torch.load('x')") == [
        "it uses torch.load, which it may not (line 3)"
    ]


def test_annotations_are_read_where_they_are_evaluated() -> None:
    text = "def run(x: Anything.at.all = 3) -> eval('3'):\n    y: open\n    return x\n"
    assert len(problems(text)) == 4
    assert problems(f"from __future__ import annotations\n{text}") == []
    hidden = "from __future__ import annotations\ndef run(x: int = open('x')):\n    return x\n"
    assert problems(hidden) == ["it uses open, which it may not (line 2)"]


def test_the_lists_hold_no_private_name() -> None:
    assert [name for name in ATTRIBUTES | BUILTINS if name.startswith("_")] == []
    leaves = {name.rpartition(".")[2] for name in NAMES}
    assert (
        leaves & {"load", "save", "ops", "jit", "hub", "compile", "from_file", "fromfile"} == set()
    )


@given(st.text(max_size=200))
def test_any_text_has_an_answer(text: str) -> None:
    assert isinstance(problems(text), list)


NAME = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)


@given(NAME)
def test_only_listed_names_are_taken_from_torch(name: str) -> None:
    text = f"import torch\nx = torch.{name}"
    try:
        ast.parse(text)
    except SyntaxError:  # a keyword
        return
    allowed = f"torch.{name}" in NAMES
    assert (problems(text) == []) == allowed


@given(NAME)
def test_only_listed_attributes_are_used(name: str) -> None:
    text = f"def run(x):\n    return x.{name}"
    try:
        ast.parse(text)
    except SyntaxError:
        return
    assert (problems(text) == []) == (name in ATTRIBUTES)
