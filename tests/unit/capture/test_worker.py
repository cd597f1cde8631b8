"""Commands through a worker: the same bytes, the caller's own log, and no process left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from kerneldefs.cli import OWNER
from kerneldefs.worker import Worker

from .test_run import CONFIG, REPOSITORY, model_config


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def owner():
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def captures(tmp_path_factory, owner):
    """Start captures of Llama on Hopper: `captures(name, model, owned=...)` -> (process, out)."""
    folder = tmp_path_factory.mktemp("captures")
    temporary = folder / "t"  # sockets have short names: keep their folder near the root
    temporary.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG.to_json()))

    def start(name, model, owned=True):
        environment = {**os.environ, "TMPDIR": str(temporary)}
        environment.pop(OWNER, None)
        if owned:
            environment[OWNER] = f"{socket.gethostname()}:{owner.pid}"
        command = [sys.executable, "scripts/capture.py", str(folder / "config.json")]
        command += ["--model-config", str(model), "--out", str(folder / name)]
        with (folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=REPOSITORY, env=environment
            )
        return process, folder / name

    start.temporary = temporary
    return start


def content(folder: Path) -> dict[str, bytes]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_a_capture_is_the_same_with_and_without_a_worker(captures, tmp_path):
    model = model_config(tmp_path / "model")
    runs = [captures(name, model, owned=name != "alone") for name in ("first", "second", "alone")]
    assert [process.wait() for process, _ in runs] == [0, 0, 0]
    first, second, alone = (content(out) for _, out in runs)
    assert first == second == alone
    assert "rank0/flashinfer/rmsnorm_h4096.json" in first
    log = runs[1][1].with_name("second.log").read_text()
    assert "probe: greedy" in log and "h100-tp1-none-flashinfer: captured" in log
    assert "no worker" not in log


def test_an_error_in_a_worker_is_the_callers(captures, tmp_path):
    process, out = captures("bad", model_config(tmp_path / "model", num_hidden_layers=None))
    assert process.wait() == 1
    assert "error: config.json: num_hidden_layers" in out.with_name("bad.log").read_text()
    assert not out.exists()


def test_a_killed_caller_takes_its_capture_along(captures, tmp_path):
    process, out = captures("killed", model_config(tmp_path / "model"))
    log = out.with_name("killed.log")
    wait_until(lambda: "probe: greedy" in log.read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not has_children(captures.temporary))
    assert not out.exists()


def has_children(temporary: Path) -> bool:
    """Whether the worker of these captures has a forked capture: both have one command line."""
    found = [command_line(folder) for folder in Path("/proc").glob("[0-9]*")]
    return sum(f"kerneldefs.capture.run:captures\0sm_90\0{temporary}" in line for line in found) > 1


def command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:  # it ended meanwhile
        return ""


def test_a_worker_ends_with_its_owner(captures, owner):
    [address] = captures.temporary.glob("kerneldefs-*/captures-sm_90-*.socket")
    owner.kill()
    owner.wait()
    wait_until(lambda: not address.exists())


@pytest.fixture
def command(tmp_path_factory):
    """Run a script as a job does, in a fork of the commands' worker: `command(words...)`."""
    with subprocess.Popen(["sleep", "600"]) as process:
        environment = {**os.environ, OWNER: f"{socket.gethostname()}:{process.pid}"}

        def run(*words):
            return subprocess.run(
                [sys.executable, *words],
                cwd=REPOSITORY,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )

        yield run
        process.kill()


def test_a_command_in_a_worker_is_the_command(command, tmp_path):
    help_text = command("scripts/stage.py", "--help")
    assert help_text.returncode == 0 and help_text.stdout.startswith("usage: stage.py [-h]")
    wrong = command("scripts/normalise.py")
    assert wrong.returncode == 2 and "the following arguments are required" in wrong.stderr
    missing = command("scripts/validate.py", str(tmp_path / "nothing"))
    assert missing.returncode == 1 and missing.stderr.startswith("error: ")
    assert "no worker" not in help_text.stdout + wrong.stdout + missing.stdout


def test_a_worker_that_cannot_start_is_done_without(monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv(OWNER, f"{socket.gethostname()}:{os.getpid()}")
    assert Worker("kerneldefs.commands:nothing").run([]) is None
    assert "no worker for nothing" in capfd.readouterr().out


def test_where_no_socket_can_be_nothing_is_started(monkeypatch, capfd, tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("started"))
    monkeypatch.setenv(OWNER, f"{socket.gethostname()}:{os.getpid()}")
    assert Worker("kerneldefs.commands:commands").run([]) is None
    assert "AF_UNIX path too long" in capfd.readouterr().out


@pytest.mark.parametrize("value", ["", "elsewhere:1", f"{socket.gethostname()}:0x1", "1"])
def test_without_an_owner_on_this_machine_there_is_no_worker(monkeypatch, value):
    monkeypatch.setenv(OWNER, value)
    assert Worker("kerneldefs.commands:commands").run([]) is None
