"""A real Slurm on this machine alone, with GPUs that are only pretended.

One node with 64 cores and 8 GPUs that it does not have: Slurm schedules and accounts for them as it
would for real ones. It needs root, for Slurm reads its settings from /etc/slurm alone, and the
packages slurm-wlm and munge.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

SETTINGS = Path("/etc/slurm")
MARK = "# made by the tests of kerneldefs\n"
GPUS = 8
_CONF = """\
ClusterName=kerneldefs
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
SlurmUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MinJobAge=3600
SlurmctldTimeout=600
SlurmdTimeout=30
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=64 RealMemory=512000 Gres=gpu:h200:{gpus}
PartitionName=tests Nodes={host} Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=100
"""
# Slurm wants each GPU to be a device file; any will do that is one.
_GRES = "NodeName={host} Name=gpu Type=h200 File=/dev/tty[0-{last}]\n"


@dataclasses.dataclass(frozen=True)
class Record:
    """One job as Slurm itself remembers it."""

    job: int
    state: str  # RUNNING, COMPLETED, CANCELLED, FAILED, ...
    comment: str  # the plugin names rule and wildcards here
    gpus: str  # what was granted, e.g. gpu:h200:8
    memory_mb: int
    limit: str  # of time, e.g. 00:30:00
    started: datetime.datetime | None
    ended: datetime.datetime | None

    def __str__(self) -> str:
        times = f"{self.started:%H:%M:%S}-{self.ended:%H:%M:%S}" if self.started else "never"
        return (
            f"{self.job:>3} {self.state:<10} {self.gpus:<11} {self.memory_mb:>5} MB "
            f"{self.limit} {times} {self.comment}"
        )


def why_not() -> str:
    """Return why there can be no Slurm here, in a sentence; "" where there can."""
    missing = [name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name)]
    if os.getuid():
        return "a Slurm of one's own takes root, to write /etc/slurm"
    if missing:
        return f"{', '.join(missing)} not installed; apt-get install slurm-wlm munge"
    conf = SETTINGS / "slurm.conf"
    if conf.exists() and not conf.read_text().startswith(MARK):
        return f"{conf} is of a Slurm that is not the tests' own"
    return ""


class Slurm:
    """The daemons, started by `start` and ended by `stop`; `folder` holds their state and logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Write the settings, start munge and Slurm, and wait until the node is idle."""
        host = socket.gethostname().partition(".")[0]
        ports = dict(zip(("ctld", "slurmd"), free_ports(2), strict=True))
        SETTINGS.mkdir(exist_ok=True)
        conf = _CONF.format(host=host, folder=self.folder, gpus=GPUS, **ports)
        (SETTINGS / "slurm.conf").write_text(MARK + conf)
        (SETTINGS / "gres.conf").write_text(MARK + _GRES.format(host=host, last=GPUS - 1))
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self._start_munge()
        self.run("slurmctld", "-D")
        self.run("slurmd", "-D", "-N", host)
        wait_until(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"), 60)

    def _start_munge(self) -> None:
        if self.ask("munge", "--no-input", check=False):
            return  # one is running
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        socket_folder = Path("/run/munge")
        socket_folder.mkdir(mode=0o755, exist_ok=True)
        words = [f"--key-file={key}", f"--log-file={self.folder}/munged.log", "--foreground"]
        words += [f"--pid-file={self.folder}/munged.pid", f"--seed-file={self.folder}/munge.seed"]
        self.run("munged", "--force", *words)
        wait_until(lambda: bool(self.ask("munge", "--no-input", check=False)), 30)

    def run(self, daemon: str, *words: str) -> None:
        """Start a daemon, its output in a log."""
        with (self.folder / f"{daemon}.out").open("ab") as log:
            self._daemons[daemon] = subprocess.Popen([daemon, *words], stdout=log, stderr=log)

    def kill(self, daemon: str) -> tuple[str, ...]:
        """End a daemon with SIGKILL; return its command line, to start it again with `run`."""
        process = self._daemons.pop(daemon)
        process.kill()
        process.wait()
        return tuple(map(str, process.args[1:]))

    def stop(self) -> None:
        """End what runs, then the daemons; the settings are removed."""
        self.ask("scancel", "--user=root", check=False)
        for process in reversed(self._daemons.values()):
            process.terminate()
        for process in self._daemons.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for name in ("slurm.conf", "gres.conf"):
            (SETTINGS / name).unlink()

    def ask(self, *command: str, check: bool = True) -> str:
        """Run one of Slurm's commands, for half a minute at most; "" where it fails unchecked."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=check)
        except subprocess.TimeoutExpired:
            if check:
                raise
            return ""
        return done.stdout if done.returncode == 0 else ""

    def running(self) -> list[int]:
        """Return the ids of running jobs."""
        return [int(i) for i in self.ask("squeue", "-h", "-t", "RUNNING", "-o", "%A").split()]

    def waiting(self) -> dict[int, str]:
        """Return the ids of jobs that wait, and what for."""
        lines = self.ask("squeue", "-h", "-t", "PENDING", "-o", "%A %r").splitlines()
        return {int(line.split()[0]): line.split(maxsplit=1)[1] for line in lines}

    def records(self) -> list[Record]:
        """Return every job of this Slurm, in the order of their ids."""
        lines = self.ask("scontrol", "show", "jobs", "--details", "--oneliner").splitlines()
        found = [parse_record(line) for line in lines if line.startswith("JobId=")]
        return sorted(found, key=lambda record: record.job)


def parse_record(line: str) -> Record:
    """Read a line of `scontrol show jobs --details --oneliner`."""
    fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
    granted = dict(word.split("=", 1) for word in fields["TRES"].split(","))
    return Record(
        job=int(fields["JobId"]),
        state=fields["JobState"],
        comment=fields.get("Comment", ""),
        gpus=fields.get("JOB_GRES", ""),
        memory_mb=megabytes(granted["mem"]),
        limit=fields["TimeLimit"],
        started=when(fields["StartTime"]),
        ended=when(fields["EndTime"]),
    )


def when(text: str) -> datetime.datetime | None:
    """Read a time as Slurm writes it; None for Unknown."""
    return None if text == "Unknown" else datetime.datetime.fromisoformat(text)


def megabytes(text: str) -> int:
    """Read an amount of memory as Slurm writes it, e.g. 1500M or 3G."""
    units = {"K": 1 / 1024, "M": 1, "G": 1024}
    return round(float(text[:-1]) * units[text[-1]])


def free_ports(count: int) -> Iterable[int]:
    """Return ports that nothing on this machine listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    """Wait for something to become true; fail when it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.5)
