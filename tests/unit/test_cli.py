import pytest
from kerneldefs.cli import INTERRUPTED, run
from kerneldefs.errors import KerneldefsError


def code_of(main: object) -> object:
    with pytest.raises(SystemExit) as caught:
        run(main)  # type: ignore[arg-type]
    return caught.value.code


def test_run_exits_with_the_code_of_main() -> None:
    assert code_of(lambda: None) == 0
    assert code_of(lambda: 3) == 3


def test_run_turns_a_known_failure_into_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KerneldefsError("x.yaml: broken; fix it")

    assert code_of(main) == 1
    assert capsys.readouterr().err == "error: x.yaml: broken; fix it\n"


def test_run_leaves_a_bug_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)


def test_run_ends_quietly_when_interrupted() -> None:
    def main() -> None:
        raise KeyboardInterrupt

    assert code_of(main) == INTERRUPTED
