"""Stubs of CUDA-only packages: they let code be imported and never look like a result."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from kerneldefs.capture.simulate.compiled import CompiledModule, CuteCompile
from kerneldefs.capture.simulate.ledger import LEDGER
from kerneldefs.capture.simulate.stubs import Stub, contains_stub

SCRIPTS = Path(__file__).parents[4] / "scripts"


def test_a_stub_takes_any_attribute_call_and_annotation():
    stub = Stub("package")
    assert repr(stub.a.b("x")[0]) == "<stub package.a.b()[]>"
    assert (stub | None) is stub and (None | stub) is stub

    class Derived(stub.Base):  # as a base class
        pass

    @stub.jit  # as a decorator
    def function():
        return 1

    assert function() == 1 and Derived.__mro__[1] is object


@pytest.mark.parametrize("use", [int, list, lambda s: s.__len__(), lambda s: s + 1])
def test_a_stub_is_no_number_and_no_sequence(use):
    with pytest.raises((TypeError, AttributeError)):
        use(Stub("package"))


def test_nothing_is_of_a_class_that_is_a_stub():
    assert not isinstance(1, Stub("package.Class"))


def test_a_stub_hidden_in_a_result_is_found():
    assert contains_stub((1, [Stub("x")])) and not contains_stub((1, [2], None))


def test_compiled_functions_are_counted_and_return_stubs_or_known_numbers():
    module = CompiledModule("flashinfer kernel", "module")
    assert isinstance(module.forward(1), Stub)
    assert module.get_tactic_num() == 1
    assert LEDGER.skipped["flashinfer kernel"]["module.forward"] >= 1
    assert isinstance(
        CuteCompile()["options"](
            test_compiled_functions_are_counted_and_return_stubs_or_known_numbers
        ),
        CompiledModule,
    )


def test_a_stub_never_shadows_an_installed_package():
    """In a process of its own: the finders stay for as long as it lives."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from kerneldefs.capture.simulate import stubs\n"
        "stubs.OPTIONAL = ('yaml', 'no_such_package')\n"
        "names = stubs.install()\n"
        "import yaml, no_such_package.deep.module as deep, deep_gemm.utils\n"
        "assert yaml.safe_load('1') == 1\n"
        "assert isinstance(deep, stubs.StubModule) and deep.f(1) is not None\n"
        "print(names)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(SCRIPTS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "no_such_package" in done.stdout and "yaml" not in done.stdout
    assert importlib.util.find_spec("no_such_package") is None  # not in this process
