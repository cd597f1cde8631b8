"""Captures from a process that has imported everything already: most of a capture is importing.

One worker per GPU architecture, started by the first capture that needs it. It imports torch,
FlashInfer and SGLang once and forks for every capture; the forked process is the capture, with the
caller's own stdout and stderr. What is written is the same, byte for byte, with and without a
worker, so nothing but time depends on it.

A worker belongs to one process, in general Snakemake's: it is named in the environment, and the
worker ends when that process does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from kerneldefs.cli import exit_code

OWNER = "KERNELDEFS_WORKER_OWNER"  # "{host}:{pid}" of the process that workers belong to
_KILLED = 128 + signal.SIGKILL  # as a shell reports it: memory ran out, or somebody ended it
_START_SECONDS = 180.0  # importing on a busy machine
_SCRIPTS = Path(__file__).resolve().parents[2]


def owner_here() -> str:
    """Return the value of OWNER that makes workers belong to this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _owner() -> int | None:
    """Return the pid of the owner, or None where there is none on this machine."""
    host, _, pid = os.environ.get(OWNER, "").rpartition(":")
    return int(pid) if host == socket.gethostname() and pid.isdigit() and _alive(int(pid)) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _folder(owner: int) -> Path:
    """A folder that only this user can reach into: who can connect can run captures."""
    path = Path(tempfile.gettempdir()) / f"kerneldefs-{os.getuid()}-{owner}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


# ---- the capture that wants a worker


def run_in_worker(arch: str, arguments: list[str]) -> int | None:
    """Run `capture_file(*arguments)` in the worker of an architecture; return its exit code.

    None where no worker can be had, and the caller has to capture by itself.
    """
    owner = _owner()
    if owner is None:
        return None
    try:
        connection = _connect(_folder(owner), arch, owner)
    except OSError as error:
        print(f"no capture worker ({error}); capturing without one", flush=True)
        return None
    with connection:
        request = json.dumps({"cwd": os.getcwd(), "arguments": arguments}).encode()
        socket.send_fds(connection, [request], [sys.stdout.fileno(), sys.stderr.fileno()])
        answer = connection.recv(16)
    if not answer:
        print("error: the capture's process died; its last words are above", file=sys.stderr)
        return _KILLED
    return int(answer)


def _connect(folder: Path, arch: str, owner: int) -> socket.socket:
    """Connect to the worker of an architecture; whoever comes first starts it."""
    address = folder / f"{arch}.socket"
    with (folder / f"{arch}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(OSError):
            return _open(address)
        address.unlink(missing_ok=True)
        command = [sys.executable, "-m", "kerneldefs.capture.worker"]
        with (folder / f"{arch}.log").open("w") as log:
            process = subprocess.Popen(
                [*command, arch, str(address), str(owner)],
                cwd=_SCRIPTS,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                return _open(address)
            time.sleep(0.05)
    raise OSError(f"it did not start; {folder / f'{arch}.log'} says why")


def _open(address: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(address))
    except OSError:
        connection.close()
        raise
    return connection


# ---- the worker


def serve(arch: str, address: Path, owner: int) -> None:
    """Fork a capture for every connection until the owner ends."""
    import kerneldefs.capture.run  # noqa: F401 - before it forks, and not where a worker is asked
    from kerneldefs.capture.simulate.pretence import pretence

    pretence(arch).import_common()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forked processes
    with _listening(address) as listener:
        while _alive(owner):
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                listener.close()
                _capture(connection)
            connection.close()


@contextlib.contextmanager
def _listening(address: Path) -> Iterator[socket.socket]:
    """A socket at `address`, which appears when it can be connected to and goes with the worker."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(1.0)
        starting = address.with_suffix(".starting")
        starting.unlink(missing_ok=True)
        listener.bind(str(starting))
        listener.listen(64)
        os.rename(starting, address)
        try:
            yield listener
        finally:
            for path in sorted(address.parent.glob(f"{address.stem}.*")):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another architecture's worker is still there
                address.parent.rmdir()


def _capture(connection: socket.socket) -> None:
    """Be one capture: the caller's output and folder are ours, and its end is ours too."""
    from kerneldefs.capture.run import capture_file

    code = 1
    try:
        connection.settimeout(None)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        message, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 2)
        for number, descriptor in enumerate(descriptors, 1):
            os.dup2(descriptor, number)
        request = json.loads(message)
        os.chdir(request["cwd"])
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        try:
            code = exit_code(lambda: capture_file(*request["arguments"]))
        except Exception:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(str(code).encode())
    finally:
        # Not sys.exit: what the parent would clean up at its end is not this process's to clean.
        os._exit(code)


def _end_with(connection: socket.socket) -> None:
    """End this process when its caller is gone: killed, or cancelled by Snakemake."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    os._exit(1)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
