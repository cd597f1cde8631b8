"""Which models a capture works for: what is tried, and what each trial came to.

Every model is tried at TP 1 without further arguments, and a cookbook's models as the cookbook
serves them as well. On further architectures that is a sample of the models. A trial is a capture
and its normalising, by the same commands as in a run, and is kept in a folder of its own,
{results}/{org}--{name}/{arch}-{served}-{backend}/.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kerneldefs.capture.record import CAPTURE_FILE, CAPTURED, FAILED
from kerneldefs.cli import OWNER
from kerneldefs.dataset.report import counted
from kerneldefs.definition.candidates import INDEX_FILE, QUARANTINE_FILE
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import digest, last_error, read_json, write_json
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.configsource import open_sources
from kerneldefs.serving.cookbook import slug_of
from kerneldefs.serving.expand import ModelPlan, plan_alone, plan_models
from kerneldefs.serving.hardware import HARDWARE
from kerneldefs.serving.places import Place
from kerneldefs.serving.settings import AUTO_BACKEND, ROOT, Settings
from kerneldefs.serving.yamlfile import load_yaml
from kerneldefs.worker import owner_here

SCRIPTS = ROOT / "scripts"
SIBLINGS_FILE = ROOT / "config" / "siblings.yaml"
OUTCOME_FILE = "outcome.json"
# Parts of a config that say who asked for it, and nothing of what is called.
_NAMES = ("id", "model", "hardware", "sources", "notes")
# One model of each kind of attention, of experts and of quantization, for further architectures.
SAMPLE = (
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-30B-A3B-FP8",
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "deepseek-ai/DeepSeek-V3",
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "nvidia/Qwen3-235B-A22B-NVFP4",
    "openai/gpt-oss-20b",
)
_SECONDS = 900  # for one command; a capture takes seconds, and minutes on a crowded machine


@dataclasses.dataclass(frozen=True)
class Trial:
    """One serving config of one model; `sibling` is whose config.json stands in for the model's."""

    repo_id: str
    config: ServingConfig
    model_config: Path
    in_cookbook: bool
    sibling: str | None = None

    @property
    def served(self) -> str:
        """Return how the model is served, whatever the hardware and backend: "tp8-ep4-fp8"."""
        config = self.config
        backend = f"-{(config.attention_backend or AUTO_BACKEND).lower()}"
        return config.id.partition("-")[2].replace(backend, "", 1)  # after the hardware

    def folder(self, results: Path) -> Path:
        """Return where the trial is kept: one place for all who would capture the same."""
        model = (self.sibling or self.repo_id).replace("/", "--")
        backend = self.config.attention_backend or AUTO_BACKEND
        return results / model / f"{self.config.arch}-{self.served}-{backend}"

    def key(self, stamp: str) -> str:
        """Return a digest of what a stage's outcome hangs on; `stamp` is of code and releases."""
        what = {k: v for k, v in self.config.to_json().items() if k not in _NAMES}
        return digest([stamp, what])[:16]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    `status` is "captured", "refused" (SGLang will not serve the model this way) or "failed".
    `definitions` counts the clean ones by op_type; `reason` is "" for a capture with definitions.
    `captured_by` and `normalised_by` say which code and releases made it.
    """

    captured_by: str
    normalised_by: str
    status: str
    reason: str
    definitions: dict[str, int]
    quarantined: int
    versions: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Trials:
    """What is to be tried, and why a model is not: by repository id.

    `without` has no config.json here, and one that is `unusable` says too little. `further` are the
    architectures on which only a sample is tried.
    """

    trials: tuple[Trial, ...]
    without: dict[str, str]
    unusable: dict[str, str] = dataclasses.field(default_factory=dict)
    further: frozenset[str] = frozenset()


def find_trials(settings: Settings, archs: Iterable[str], further: Iterable[str] = ()) -> Trials:
    """Plan the trials of the models that the settings name, on some architectures.

    With `model` "all" the models of the config sources are tried beside the cookbook's. On
    `further` architectures it is the cookbook's own serving configs, and of the rest `SAMPLE`.
    """
    wanted, more = set(archs), set(further) - set(archs)
    trials: list[Trial] = []
    without: dict[str, str] = {}
    unusable: dict[str, str] = {}
    siblings: dict[str, str | None] = {}
    for plan, repo_id, sibling in _cookbook_plans(settings):
        if plan.failure is not None:
            without[repo_id] = plan.failure.removeprefix(f"{repo_id}: ")
        elif plan.configs:
            siblings[repo_id] = sibling
        trials += _trials(plan, repo_id, sibling, in_cookbook=True)
    sources = open_sources(settings.config_sources) if settings.model == ("all",) else ()
    for repo_id in dict.fromkeys([*siblings, *(r for s in sources for r in s.repo_ids())]):
        sibling = siblings.get(repo_id)
        here = wanted | (more if repo_id in SAMPLE else set())
        try:
            plan = plan_alone(sibling or repo_id, _one_each(here, settings))
        except KerneldefsError as error:
            unusable[repo_id] = str(error).removeprefix(f"{repo_id}: ")
            continue
        trials += _trials(plan, repo_id, sibling, in_cookbook=False)
    found = [trial for trial in trials if trial.config.arch in wanted | more]
    found.sort(key=lambda trial: (trial.repo_id, trial.config.id))
    return Trials(tuple(found), without, unusable, frozenset(more))


def _one_each(archs: set[str], settings: Settings) -> Settings:
    """Return the settings with one hardware product for each architecture."""
    names = {p.arch: name for name, p in reversed(HARDWARE.items()) if p.arch in archs}
    return dataclasses.replace(settings, hardware=tuple(sorted(names.values())))


def _cookbook_plans(settings: Settings) -> Iterable[tuple[ModelPlan, str, str | None]]:
    """Yield the plans of the cookbook's models: plan, repository id, and the sibling if any."""
    siblings = read_siblings()
    for plan in plan_models(settings, may_fetch=False):
        sibling = siblings.get(plan.repo_id)
        if plan.failure is not None and sibling is not None:
            borrowed = dataclasses.replace(settings, model=(plan.slug,), hf_repo_id=sibling)
            yield from (
                (other, plan.repo_id, sibling) for other in plan_models(borrowed, may_fetch=False)
            )
        else:
            yield plan, plan.repo_id, None


def read_siblings(path: Path = SIBLINGS_FILE) -> dict[str, str]:
    """Return {repository id: the sibling with the same figures}."""
    members = Place(load_yaml(path), path.name).mapping().members()
    return {repo_id: sibling.text() for repo_id, sibling in members}


def _trials(
    plan: ModelPlan, repo_id: str, sibling: str | None, *, in_cookbook: bool
) -> list[Trial]:
    slug = slug_of(repo_id.rpartition("/")[2])
    return [
        Trial(
            repo_id,
            dataclasses.replace(config, model=slug),
            plan.model_config,
            in_cookbook and all(source.cookbook != "none" for source in config.sources),
            sibling,
        )
        for config in plan.configs
    ]


def outcome_of(trial: Trial, results: Path) -> Outcome | None:
    """Return the kept outcome of a trial, whatever code made it; None where there is none."""
    try:
        return Outcome(**read_json(trial.folder(results) / OUTCOME_FILE))
    except (KerneldefsError, TypeError):
        return None


def run_trials(
    trials: Iterable[Trial],
    results: Path,
    stamps: tuple[str, str],
    jobs: int,
    *,
    keep: bool = False,
) -> Iterator[tuple[Trial, Outcome]]:
    """Try what has no outcome of this code and these releases; yield each that is tried.

    A cookbook's configs come first, and older architectures: a run that is cut short has those.
    `stamps` are digests of the code and releases that capturing and normalising hang on. `jobs`
    trials run at a time. With `keep`, captures with definitions stay, whatever code made them.
    """
    os.environ[OWNER] = owner_here()
    todo = {}
    for trial in sorted(trials, key=_asked_first):
        old = outcome_of(trial, results)
        captured_by, normalised_by = trial.key(stamps[0]), trial.key(stamps[1])
        if old is not None and old.status == CAPTURED and keep:
            captured_by = old.captured_by
        if old is None or (old.captured_by, old.normalised_by) != (captured_by, normalised_by):
            todo[trial.folder(results)] = (trial, captured_by, normalised_by)
    pool = ThreadPoolExecutor(jobs)
    try:
        done = pool.map(lambda asked: _attempt(results, *asked), todo.values())
        yield from zip((trial for trial, _, _ in todo.values()), done, strict=True)
    finally:
        pool.shutdown(cancel_futures=True)  # whoever stops listening waits for no more than `jobs`


def _asked_first(trial: Trial) -> tuple[bool, int]:
    return not trial.in_cookbook, int(trial.config.arch.removeprefix("sm_"))


def _attempt(results: Path, trial: Trial, captured_by: str, normalised_by: str) -> Outcome:
    """Capture one config, where that is not done yet, normalise it, and keep what it came to."""
    folder = trial.folder(results)
    old = outcome_of(trial, results)
    config, dump, candidates = folder / "config.json", folder / "dump", folder / "candidates"
    model = ["--model-config", str(trial.model_config)]
    failure = ""
    if old is None or old.captured_by != captured_by or old.status == FAILED:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(config, trial.config.to_json())
        failure = _command(folder, "capture.py", str(config), *model, "--out", str(dump))
    if not failure:
        words = [str(config), str(dump), *model, "--out", str(candidates)]
        failure = _command(folder, "normalise.py", *words)
    made = (captured_by, normalised_by)
    outcome = Outcome(*made, FAILED, failure, {}, 0, {}) if failure else _read(made, folder)
    write_json(folder / OUTCOME_FILE, dataclasses.asdict(outcome))
    return outcome


def _command(folder: Path, script: str, *arguments: str) -> str:
    """Run one of scripts/ with its output in a log; return why it failed, "" where it did not."""
    log = folder / f"{script}.log"
    with log.open("wb") as stream:
        command = [sys.executable, str(SCRIPTS / script), *arguments]
        try:
            done = subprocess.run(command, stdout=stream, stderr=stream, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            return f"{script} took over {_SECONDS} s"
    return f"{script}: {last_error(log)}" if done.returncode else ""


def _read(made: tuple[str, str], folder: Path) -> Outcome:
    index = read_json(folder / "candidates" / INDEX_FILE)
    found = [one["op_type"] for one in index["definitions"].values()]
    lost = read_json(folder / "candidates" / QUARANTINE_FILE)
    status, reason = index["capture"]["status"], index["capture"]["reason"]
    if status == CAPTURED and not found:
        causes = ", ".join(sorted({item["cause"] for item in lost}))
        status, reason = FAILED, f"nothing but quarantined definitions ({causes})"
    versions = read_json(folder / "dump" / CAPTURE_FILE).get("versions", {})
    return Outcome(*made, status, reason, counted(found), len(lost), versions)
