"""The workflow under a real Slurm: what Slurm itself says that it granted, queued and cancelled.

One node with 8 pretended GPUs; the captures are simulated, and reserve what the engine would use.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from .conftest import Project, new_project
from .slurm import GPUS, Record, Slurm, wait_until, why_not

LLAMA = "llama-3.1-8b"
TP1, TP4, TP8 = (f"h200-tp{tp}-bf16-flashinfer" for tp in (1, 4, 8))
SETTINGS = (
    f"model={LLAMA} hardware=H200 tp_list=1,4,8 attention_backends=flashinfer reserve_gpus=true"
)
SECONDS = 600  # for anything that Slurm and two busy cores may take their time with

# Put into the capture command: a config in FAIL fails, one in HOLD waits until it is taken out.
HOOK = """
    import time
    while options.config.stem in Path("HOLD").read_text().split():
        time.sleep(0.2)
    if options.config.stem in Path("FAIL").read_text().split():
        raise SystemExit("error: this capture fails on purpose")
"""

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "never"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A Slurm of the tests' own."""
    one = Slurm(tmp_path_factory.mktemp("slurm"))
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose captures can be made to fail and to wait."""
    project = new_project(tmp_path_factory.mktemp("cluster"))
    project.edit("scripts/capture.py", "options = parser().parse_args()\n", CAPTURE)
    hold(project)
    (project.folder / "FAIL").write_text("")
    return project


CAPTURE = "options = parser().parse_args()\n" + HOOK


def hold(project: Project, *configs: str) -> None:
    (project.folder / "HOLD").write_text(" ".join(configs))


def start(project: Project) -> subprocess.Popen[str]:
    """Start Snakemake as a user does, but ask Slurm sooner."""
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm"]
    command += ["--slurm-init-seconds-before-status-checks", "3"]
    return subprocess.Popen(
        [*command, "--config", *SETTINGS.split()],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=SECONDS)
    return process.returncode, output


def of(config: str, records: list[Record]) -> list[Record]:
    """The jobs of a config, in the order of their submission."""
    return [record for record in records if config in record.comment]


def granted(record: Record) -> int:
    """How many GPUs a job had, which must all be of the config's model."""
    kind, model, count = record.gpus.split(":")
    assert (kind, model) == ("gpu", "h200")
    return int(count)


def test_every_job_gets_its_gpus_and_a_cancelled_one_is_retried(
    slurm: Slurm, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """TP 1, 4 and 8 want 13 of 8 GPUs; TP 4 fails for good and TP 1 is cancelled by hand."""
    (project.folder / "FAIL").write_text(TP4)
    hold(project, TP1, TP4, TP8)
    process = start(project)
    wait_until(lambda: len(slurm.records()) == 3, SECONDS)
    wait_until(lambda: "Resources" in slurm.waiting().values(), SECONDS)
    assert sum(granted(record) for record in running(slurm)) <= GPUS
    hold(project, TP1)
    wait_until(lambda: [r for r in running(slurm) if TP1 in r.comment], SECONDS)
    (first,) = of(TP1, slurm.records())
    slurm.ask("scancel", str(first.job))
    wait_until(lambda: len(of(TP1, slurm.records())) == 2, SECONDS)
    hold(project)
    code, output = finish(process)
    records = slurm.records()
    with capsys.disabled():
        print("", *records, sep="\n")
    check_grants(records)
    check_outcome(project, code, output)


def running(slurm: Slurm) -> list[Record]:
    return [record for record in slurm.records() if record.state == "RUNNING"]


def check_grants(records: list[Record]) -> None:
    """Each had exactly its GPUs, never more than there are; the retry had more of the rest."""
    assert [granted(one) for one in of(TP4, records) + of(TP8, records)] == [4, 8]
    cancelled, retried = of(TP1, records)
    assert [granted(cancelled), granted(retried)] == [1, 1]
    assert [cancelled.state, retried.state] == ["CANCELLED", "COMPLETED"]
    assert [cancelled.memory_mb, retried.memory_mb] == [1500, 3000]
    assert [cancelled.limit, retried.limit] == ["00:30:00", "01:00:00"]
    for one in records:
        beside = [r for r in records if r.started <= one.started < r.ended]
        assert sum(map(granted, beside)) <= GPUS


def check_outcome(project: Project, code: int, output: str) -> None:
    """The failed config fails the run, says where its log is, and holds up no other."""
    assert code != 0
    assert "the capture failed: this capture fails on purpose" in output
    assert f"logs/capture/{TP4}.log" in output
    tags = {tag for one in project.staged(LLAMA).values() for tag in one["tags"]}
    assert {"tp:1", "tp:8"} <= tags
    assert "tp:4" not in tags
    (error,) = project.report(LLAMA)["errors"]
    assert error["path"] == f"configs/{TP4}.json"


def test_next_run_submits_what_failed_and_no_more(slurm: Slurm, project: Project) -> None:
    before = len(slurm.records())
    (project.folder / "FAIL").write_text("")
    code, output = finish(start(project))
    assert code == 0, output
    (record,) = slurm.records()[before:]
    assert (granted(record), record.state) == (4, "COMPLETED")
    assert TP4 in record.comment
    assert {"tp:1", "tp:4", "tp:8"} <= {
        tag for one in project.staged(LLAMA).values() for tag in one["tags"]
    }


def test_killed_daemon_of_the_node_loses_nothing(slurm: Slurm, project: Project) -> None:
    staged = project.staged(LLAMA)
    hold(project, TP8)
    for path in project.path("dumps", LLAMA).glob(TP8):
        path.rename(project.folder / "away")
    process = start(project)
    wait_until(lambda: running(slurm), SECONDS)
    words = slurm.kill("slurmd")
    hold(project)
    slurm.run("slurmd", *words)
    code, output = finish(process)
    assert code == 0, output
    assert project.staged(LLAMA) == staged
    assert slurm.records()[-1].state == "COMPLETED"


def test_simulated_captures_are_not_submitted(slurm: Slurm, project: Project) -> None:
    """190 submissions for jobs of seconds would be abuse; the same captures count as made."""
    before = len(slurm.records())
    project.path(f"dumps/{TP1}", LLAMA).rename(project.folder / "again")
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "--config"]
    words = SETTINGS.replace("reserve_gpus=true", "").split()
    done = subprocess.run(
        [*command, *words],
        cwd=project.folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.path(f"dumps/{TP1}/capture.json", LLAMA).exists()
    assert len(slurm.records()) == before
