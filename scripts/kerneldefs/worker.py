"""Commands run by a process that has imported everything already: most of a command is importing.

A worker imports once, and forks for every request; the forked process is the command, with the
caller's own folder, stdin, stdout and stderr. What is written is the same, byte for byte, with and
without a worker, so nothing but time depends on it.

A worker is started by the first command that needs it and belongs to one process, in general
Snakemake's: that one is named in the environment, and the worker ends when it does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import gc
import hashlib
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from kerneldefs.cli import OWNER, exit_code

Command = Callable[[list[str]], int]  # what a fork does with a request's arguments; its exit code
_KILLED = 128 + signal.SIGKILL  # as a shell reports it: memory ran out, or somebody ended it
_NOT_THERE = (FileNotFoundError, ConnectionRefusedError)  # no worker listens, any more or yet
_START_SECONDS = 180.0  # importing on a busy machine
_SCRIPTS = Path(__file__).resolve().parents[1]


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
    """A folder that only this user can reach into: who can connect can run commands."""
    path = Path(tempfile.gettempdir()) / f"kerneldefs-{os.getuid()}-{owner}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


# ---- the command that wants a worker


@dataclasses.dataclass(frozen=True)
class Worker:
    """What a process imports once, and what its forks then do.

    `entry` is `module:function`. The worker calls the function with `argument` and a folder that
    goes when the worker does; it imports, and returns the command of the forks. `environment`
    stands in the place of the first caller's.
    """

    entry: str
    argument: str = ""
    environment: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """Return a name for its socket, which must be short; another Python has another worker."""
        python = hashlib.sha256(sys.executable.encode()).hexdigest()[:4]
        return "-".join(filter(None, (self.entry.rpartition(":")[2], self.argument, python)))

    def run(self, arguments: Sequence[str], streams: Sequence[int] = (0, 1, 2)) -> int | None:
        """Run the command in a fork, with these descriptors as its own; return its exit code.

        None where no worker can be had, and the caller has to do it by itself.
        """
        owner = _owner()
        if owner is None:
            return None
        try:
            connection = self._connect(_folder(owner), owner)
        except OSError as error:
            print(f"no worker for {self.name} ({error}); going on without one", flush=True)
            return None
        with connection:
            socket.send_fds(connection, [b"\0"], list(streams))
            request = {"cwd": os.getcwd(), "arguments": list(arguments)}
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = connection.recv(16)
        if not answer:
            print("error: the command's process died; its last words are above", file=sys.stderr)
            return _KILLED
        return int(answer)

    def _connect(self, folder: Path, owner: int) -> socket.socket:
        """Connect to the worker; whoever comes first starts it."""
        address = folder / f"{self.name}.socket"
        with (folder / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(*_NOT_THERE):  # and not where its path is too long for one
                return _open(address)
            address.unlink(missing_ok=True)
            command = [sys.executable, "-m", "kerneldefs.worker", self.entry, self.argument]
            with (folder / f"{self.name}.log").open("w") as log:
                process = subprocess.Popen(
                    [*command, str(address), str(owner)],
                    cwd=_SCRIPTS,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self.environment,
                    start_new_session=True,
                )
            deadline = time.monotonic() + _START_SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(*_NOT_THERE):
                    return _open(address)
                time.sleep(0.05)
        raise OSError(f"it did not start; {folder / f'{self.name}.log'} says why")


def _open(address: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(address))
    except OSError:
        connection.close()
        raise
    return connection


# ---- the worker


def serve(entry: str, argument: str, address: Path, owner: int) -> None:
    """Fork a command for every connection until the owner ends."""
    module, _, function = entry.partition(":")
    with _own_folder(address) as folder:
        command: Command = getattr(importlib.import_module(module), function)(argument, folder)
        gc.collect()
        gc.freeze()  # forks share the pages of what has been imported
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forked processes
        with _listening(address) as listener:
            while _alive(owner):
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                if os.fork() == 0:
                    listener.close()
                    _be(command, connection)
                connection.close()


@contextlib.contextmanager
def _own_folder(address: Path) -> Iterator[Path]:
    """A folder beside the socket that goes with the worker."""
    folder = address.with_suffix(".kept")
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another worker is still there
            address.parent.rmdir()


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
            for suffix in (".starting", ".socket", ".lock", ".log"):
                address.with_suffix(suffix).unlink(missing_ok=True)


def _be(command: Command, connection: socket.socket) -> None:
    """Be one command: the caller's streams and folder are ours, and its end is ours too."""
    code = 1
    try:
        connection.settimeout(None)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        with connection.makefile(encoding="utf-8") as stream:
            request = json.loads(stream.readline())
        os.chdir(request["cwd"])
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        try:
            code = exit_code(lambda: command(request["arguments"]))
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
    serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
