import threading

import pytest
from kerneldefs import __version__
from kerneldefs.cli import INTERRUPTED, run, waiting
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


def test_every_command_has_a_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["x.py", "--version"])
    assert code_of(lambda: 3) == 0
    assert capsys.readouterr().out == f"kerneldefs {__version__}\n"


def test_a_log_sees_that_something_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    said = threading.Event()
    with waiting("capturing x", seconds=0.001):
        while not said.is_set():
            if "capturing x: 0 s\n" in capsys.readouterr().err:
                said.set()
    threads = threading.active_count()
    with waiting("capturing y", seconds=1000):
        pass
    assert threading.active_count() == threads
    assert capsys.readouterr().err.count("capturing y") == 0
