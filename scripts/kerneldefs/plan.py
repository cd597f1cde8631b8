"""The plan of a run, as the rules ask for it: which jobs there are, and what each is told.

Everything is light: a dry run must answer in about two seconds, so neither torch nor sglang is
imported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from kerneldefs.capture.choice import AUTO, ENGINE, SIMULATE, Choice, choose, gpus_here, other
from kerneldefs.capture.engine.fetch import CUBIN_ARCHS
from kerneldefs.capture.engine.gpus import Gpu
from kerneldefs.capture.versions import find_interpreter, installed_versions, versions_of
from kerneldefs.digests import staged_state
from kerneldefs.files import canonical_json
from kerneldefs.leftovers import left_over
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.expand import ModelPlan, cookbook_folder, plan_models
from kerneldefs.serving.settings import Settings

# Method -> the folders per config that definitions are staged from, and whether anything is run.
FOLDERS = {
    "auto": ("candidates", "derived"),
    "capture": ("candidates",),
    "derive": ("derived",),
    "predict": ("derived",),
}
PREDICT = "predict"
DERIVED_PAGE_SIZES = (1, 64)  # of paged variants, beside those of the setting page_sizes


class Wildcards(Protocol):
    """Snakemake's wildcards of a rule with a model, and of most with a config."""

    model: str
    cfg: str


@dataclasses.dataclass(frozen=True)
class Run:
    """One invocation of the workflow: the settings and each model's plan, by slug."""

    settings: Settings
    plans: dict[str, ModelPlan]

    gpus_here: tuple[Gpu, ...] = ()  # that an engine can use on this machine
    swapped: bool = False  # whether each config is captured by the other backend than chosen

    def choice(self, model: str, cfg: str) -> Choice:
        """Return which backend captures a config, and why."""
        settings = self.settings
        types = dict(word.split("=", 1) for word in settings.gpu_types)
        choice = choose(self.config(model, cfg), settings.backend, types, self.gpus_here)
        return other(choice) if self.swapped else choice

    def others(self) -> Run:
        """Return the run that captures each config by the other backend, to be compared."""
        return dataclasses.replace(self, swapped=not self.swapped)

    def capture_options(self, model: str, cfg: str) -> list[str]:
        """Return capture.py's options for the backend of a config."""
        choice = self.choice(model, cfg)
        options = ["--backend", choice.backend]
        if choice.backend == ENGINE:
            options += ["--load-format", self.settings.load_format, "--why", choice.why]
            fetched = self.fetched(model, cfg)
            options += ["--fetched", *fetched] if fetched else []
        return options

    def fetched(self, model: str, cfg: str) -> list[str]:
        """Return the files that say where what an engine may not fetch itself was fetched to."""
        if self.choice(model, cfg).backend != ENGINE:
            return []
        results, real = self.settings.results, self.settings.load_format == "auto"
        weights = [f"{results}/{model}/weights.json"] if real else []
        cubins = self.config(model, cfg).arch in CUBIN_ARCHS
        return weights + ([f"{results}/cache/cubins.json"] if cubins else [])

    def reasons(self, wildcards: Wildcards) -> list[str]:
        """Return `ID=TEXT`, why its backend captures it, of a model's configs: for its report.

        No param of a simulated capture, which is the same whatever the reason.
        """
        model = wildcards.model
        ids = [config.id for config in self.plans[model].configs] if self.captures else []
        return [f"{cfg}={self.choice(model, cfg).why}" for cfg in ids]

    @property
    def submits_captures(self) -> bool:
        """Whether captures are jobs of a cluster: not when they take seconds and no GPU."""
        return self.settings.reserve_gpus or any(
            self.choice(model, config.id).backend == ENGINE
            for model, plan in self.plans.items()
            for config in plan.configs
        )

    def gpus(self, model: str, cfg: str) -> int:
        """Return how many GPUs a capture asks for: one per rank, none when simulated.

        A simulated capture asks for its GPUs too with `reserve_gpus`, and leaves them idle.
        """
        wanted = self.settings.reserve_gpus or self.choice(model, cfg).backend == ENGINE
        return self.config(model, cfg).tp if wanted else 0

    def gpu_model(self, model: str, cfg: str) -> str:
        """Return the GPU model as clusters name it, e.g. `h200`; "" for a capture without GPUs."""
        name = self.config(model, cfg).hardware.lower().replace("-", "_")
        return (self.choice(model, cfg).gpu_model or name) if self.gpus(model, cfg) else ""

    def comparable(self) -> list[str]:
        """Return the comparison of every config that an engine can capture, on one node."""
        configs = [(m, c) for m, plan in self.plans.items() for c in plan.configs if c.on_one_node]
        return [f"{self.settings.results}/{m}/parity/{c.id}.json" for m, c in configs]

    def incomparable(self) -> str:
        """Return the other configs, in a sentence; "" without any."""
        ids = [c.id for plan in self.plans.values() for c in plan.configs if not c.on_one_node]
        return f"not compared, as they need several nodes: {', '.join(ids)}" if ids else ""

    def minutes(self, model: str, cfg: str) -> int:
        """Return how long a capture may take: an engine is ended after 30 minutes by itself."""
        return 30 if self.choice(model, cfg).backend == SIMULATE else 45

    def memory(self, model: str, cfg: str) -> int:
        """Return the megabytes that a capture asks for: an engine's ranks import all of SGLang."""
        config = self.config(model, cfg)
        return 1500 if self.choice(model, cfg).backend == SIMULATE else 16000 + 8000 * config.tp

    def python(self) -> str:
        """Return the interpreter that captures; the one that runs Snakemake where none is set."""
        return find_interpreter(self.settings.python) if self.settings.python else "python"

    def versions(self) -> str:
        """Return the releases that a capture depends on, as JSON text."""
        if self.settings.python:
            return versions_of(self.settings.python)
        return canonical_json(installed_versions(), indent=None)

    def config(self, model: str, cfg: str) -> ServingConfig:
        """Return one serving config."""
        return next(config for config in self.plans[model].configs if config.id == cfg)

    def model_config(self, model: str) -> str:
        """Return the directory with a model's config.json, relative where it can be.

        It is a param: an absolute path would rerun everything in a project that was moved.
        """
        return _from_here(self.plans[model].model_config)

    def cookbook_files(self) -> str:
        """Return the folder with the cookbook's files, relative where it can be."""
        return _from_here(cookbook_folder(self.settings, may_fetch=False))

    def config_ids(self, model: str) -> str:
        """Return the ids of a model's configs, comma-separated: what its report is about."""
        return ",".join(config.id for config in self.plans[model].configs)

    def left_over(self, wildcards: Wildcards) -> str:
        """Return the configs that a model's results hold and no setting asks for, comma-separated.

        The report lists them, so it is made again when they are pruned.
        """
        keep = [config.id for config in self.plans[wildcards.model].configs]
        return ",".join(left_over(self.settings.results / wildcards.model, keep))

    def kept(self) -> list[str]:
        """Return `{results}/{model}=ID,ID` of every model that has configs, for prune.py."""
        return [
            f"{self.settings.results / model}={self.config_ids(model)}"
            for model, plan in self.plans.items()
            if plan.configs
        ]

    def config_text(self, model: str, cfg: str) -> str:
        """Return a config's file content: the same text as long as the config is the same."""
        return canonical_json(self.config(model, cfg).to_json())

    def unplanned(self) -> list[str]:
        """Return, as a target, what fails where models that were asked for have no config."""
        without = [plan for plan in self.plans.values() if plan.failure is not None]
        return [f"{self.settings.results}/planned"] if without else []

    def unplanned_text(self) -> str:
        """Return who has no serving config, in a sentence; the summary has each one's reason."""
        slugs = [slug for slug, plan in self.plans.items() if plan.failure is not None]
        count = f"{len(slugs)} of {len(self.plans)} models have no serving config"
        return f"error: {count}, as the summary explains: {', '.join(slugs)}"

    def dropped_text(self, model: str) -> str:
        """Return, as JSON text, what the cookbook asks of a model and no capture is made of."""
        return canonical_json([dataclasses.asdict(drop) for drop in self.plans[model].dropped])

    @property
    def captures(self) -> bool:
        """Whether anything is run: not where definitions are predicted."""
        return self.settings.method != PREDICT

    def candidates(self, wildcards: Wildcards) -> list[str]:
        """Return the inputs of a model's stage job."""
        folders = FOLDERS[self.settings.method]
        return [path for name in folders for path in self.per_config(name, [wildcards.model])]

    def made(self) -> list[str]:
        """Return the folders per config that a run makes on the way."""
        folders = (*(("dumps",) if self.captures else ()), *FOLDERS[self.settings.method])
        return [path for name in folders for path in self.per_config(name)]

    def seen(self, wildcards: Wildcards) -> dict[str, str]:
        """Return the capture that a config's definitions are derived from, if there is one."""
        results = self.settings.results
        dump = f"{results}/{wildcards.model}/dumps/{wildcards.cfg}"
        return {"dump": dump} if self.captures else {}

    def derive_options(self) -> list[str]:
        """Return derive.py's options for the settings that say what is derived."""
        settings = self.settings
        sizes = sorted({*DERIVED_PAGE_SIZES, *settings.page_sizes})
        variants = [name for name in settings.variants if name != "none"] or ["none"]
        options = ["--variants", ",".join(variants), "--page-sizes", ",".join(map(str, sizes))]
        return options + (["--op-types", ",".join(settings.op_types)] if settings.op_types else [])

    def stage_options(self) -> list[str]:
        """Return stage.py's options for the settings that say what is staged."""
        settings = self.settings
        options = [] if settings.dataset is None else ["--dataset", str(settings.dataset)]
        options += [] if settings.skip_existing else ["--no-skip-existing"]
        options += [] if settings.requests is None else ["--requests", str(settings.requests)]
        if settings.execute:
            options += ["--execute", "--cache", str(settings.results / "cache" / "references")]
        return options + (["--op-types", ",".join(settings.op_types)] if settings.op_types else [])

    def staged_state(self, wildcards: Wildcards) -> str:
        """Return the state of a model's staged files, as `staged_state` says."""
        return staged_state(self.settings.results / wildcards.model)

    def per_config(self, folder: str, models: Iterable[str] | None = None) -> list[str]:
        """Return `{results}/{model}/{folder}/{cfg}` of every config of the models (default: all).

        A `folder` such as `configs/{cfg}.json` may say itself where the id goes.
        """
        pattern = folder if "{cfg}" in folder else f"{folder}/{{cfg}}"
        return [
            f"{self.settings.results}/{model}/{pattern.format(cfg=config.id)}"
            for model in (self.plans if models is None else models)
            for config in self.plans[model].configs
        ]

    def per_model(self, *names: str) -> list[str]:
        """Return `{results}/{model}/{name}` of every model that has configs."""
        return [
            f"{self.settings.results}/{model}/{name}"
            for model, plan in self.plans.items()
            if plan.configs
            for name in names
        ]

    def index(self) -> list[str]:
        """Return the page over models, which a run of one model has no use for."""
        return [f"{self.settings.results}/index.html"] if len(self.plans) > 1 else []

    def results_folders(self) -> list[str]:
        """Return the results folder of every model that has configs."""
        return [
            f"{self.settings.results}/{slug}" for slug, plan in self.plans.items() if plan.configs
        ]


def load(config: Mapping[str, Any], *, may_fetch: bool, look_for_gpus: bool = False) -> Run:
    """Check the workflow's config and plan the captures.

    With `look_for_gpus`, backend `auto` goes by the GPUs of this machine. A job of a cluster must
    not: it would see others than those that its submission was decided with.

    Raises KerneldefsError for whatever is wrong with the settings, the cookbook or a model.
    """
    settings = Settings.from_mapping(config)
    if settings.python:
        versions_of(settings.python)  # fails in a sentence before anything is planned
    plans = plan_models(settings, may_fetch=may_fetch)
    look = look_for_gpus and settings.backend == AUTO and not settings.gpu_types
    here = gpus_here(other_python=bool(settings.python)) if look else ()
    return Run(settings, {plan.slug: plan for plan in plans}, tuple(here))


def _from_here(path: Path) -> str:
    path, here = path.resolve(), Path.cwd().resolve()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
