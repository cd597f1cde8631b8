"""No process of an engine outlives the command that started it, however that one ends.

The engine here is a tree like SGLang's: schedulers and a detokenizer by multiprocessing's spawn,
schedulers of data parallel ranks below a controller, which starts them in threads; all of them ask
the kernel to die with their parent and rename themselves, which overwrites the environment that
/proc shows. A scheduler that is still importing has done neither, and a compiler never does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kerneldefs.capture.engine import session
from kerneldefs.capture.engine.tree import Tree

SCRIPTS = Path(session.__file__).parents[3]
ENGINE = """
import ctypes, multiprocessing, os, signal, subprocess, sys, threading, time
from pathlib import Path
import setproctitle

def here(name):
    part = FOLDER / f".{name}"
    part.write_text(str(os.getpid()))
    part.rename(FOLDER / name)

def begin(name):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    setproctitle.setproctitle(f"sglang::{name}")
    here(name)

def compiler(name):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    (FOLDER / name).write_text(str(child.pid))

def scheduler(name):
    begin(name)
    compiler(f"compiler of {name}")
    time.sleep(600)

def importing(name):
    here(name)
    time.sleep(600)

def controller(name):
    begin(name)
    def start(child):
        multiprocessing.Process(target=scheduler, args=(child,)).start()
        time.sleep(600)  # the kernel counts a thread that ends as a parent that died
    for child in ("rank 0", "rank 1"):
        threading.Thread(target=start, args=(child,)).start()
    time.sleep(600)

FOLDER = Path(sys.argv[1])
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    for target, name in ((scheduler, "scheduler"), (scheduler, "detokenizer"),
                         (controller, "controller"), (importing, "importing")):
        multiprocessing.Process(target=target, args=(name,)).start()
    here("engine")
    time.sleep(600)
"""
NAMES = {
    "engine", "scheduler", "detokenizer", "controller", "importing", "rank 0", "rank 1",
    *(f"compiler of {name}" for name in ("scheduler", "detokenizer", "rank 0", "rank 1")),
}  # fmt: skip
COMMAND = """
import signal, sys, time
from pathlib import Path
from types import SimpleNamespace
from kerneldefs.capture.engine import gpus, session
gpu = gpus.Gpu("0", "a", "n", "sm_90", 1, 1, ())
options = session.Options(command=(sys.executable, sys.argv[1]))
config = SimpleNamespace(id="x", tp=1)
# A shell's background job, as these tests may be one, ignores what a terminal's interrupt sends.
signal.signal(signal.SIGINT, signal.default_int_handler)
session._run(config, {}, Path(sys.argv[2]), [gpu], options, time.monotonic() + 600)
"""


@pytest.fixture
def running(
    tmp_path: Path,
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, psutil.Process]]]:
    """A command with an engine whose processes all run, by their names."""
    script, folder = tmp_path / "engine.py", tmp_path / "out"
    script.write_text(ENGINE)
    folder.mkdir()
    words = [sys.executable, "-c", COMMAND, str(script), str(folder)]
    command = subprocess.Popen(words, cwd=SCRIPTS, start_new_session=True)
    deadline = time.monotonic() + 120
    while not all((folder / name).exists() for name in NAMES):
        assert time.monotonic() < deadline and command.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)  # the last file may be empty still
    pids = {name: int((folder / name).read_text()) for name in NAMES}
    yield command, {name: psutil.Process(pid) for name, pid in pids.items()}
    command.kill()
    command.wait(60)


def survivors(processes: dict[str, psutil.Process], seconds: float = 30) -> list[str]:
    """Who is left after so many seconds at most; they are ended then."""
    deadline = time.monotonic() + seconds
    while (left := [n for n, p in processes.items() if _runs(p)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for name in left:
        processes[name].kill()
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_the_command(running, number: signal.Signals):
    command, processes = running
    os.killpg(command.pid, number)  # as a terminal and Snakemake do: the whole group at once
    command.wait(60)
    assert survivors(processes) == []


def test_a_process_that_renamed_itself_is_found_by_its_session(running):
    command, processes = running
    tree = Tree("no such mark", os.getsid(processes["engine"].pid))
    found = {process.pid for process in tree.running()}
    assert {process.pid for process in processes.values()} <= found
    assert command.pid not in found
    assert tree.end() == []
    command.wait(60)
    assert survivors(processes, 0) == []


def test_a_process_that_left_the_session_is_found_by_its_mark():
    environment = {**os.environ, "KERNELDEFS_ENGINE": "a mark of this test"}
    code = "import time; time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, start_new_session=True
    )
    assert Tree("a mark of this test").end() == []
    process.wait(10)
