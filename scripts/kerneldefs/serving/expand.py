"""From settings to the serving configs of each model: the plan that the workflow is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from kerneldefs.errors import KerneldefsError
from kerneldefs.serving import hub
from kerneldefs.serving.config import ServingConfig, Source
from kerneldefs.serving.configid import config_ids
from kerneldefs.serving.configsource import ConfigSource, open_sources
from kerneldefs.serving.cookbook import CookbookModel, Entry, load_cookbook, slug_of
from kerneldefs.serving.gitcookbook import PREFIX, git_cookbook
from kerneldefs.serving.hardware import DEFAULT_HARDWARE, ORDER, canonical, find_hardware
from kerneldefs.serving.modelconfig import ModelConfig, read_model_config, remote_code_files
from kerneldefs.serving.select import BUNDLED, Target, bundled_models, select
from kerneldefs.serving.settings import EMBEDDED, ROOT, Settings
from kerneldefs.serving.variants import Asked, Drop, Variant, default_entries, variants_of

__all__ = ["Drop", "ModelPlan", "cookbook_folder", "fetch_command", "plan_models"]

DIFFUSION = "a diffusion model; only language models are captured"
EMBEDDED_COOKBOOK = ROOT / "config" / "cookbook"


@dataclasses.dataclass(frozen=True)
class ModelPlan:
    """One model's serving configs, sorted by id, and what was dropped.

    `model_config` is the directory with its config.json, or a file that stands for one. `configs`
    is empty only where several models were asked for and this one has none; `dropped` says why,
    with `entry` "" for a failure.
    """

    slug: str
    repo_id: str
    revision: str
    model_config: Path
    configs: tuple[ServingConfig, ...]
    dropped: tuple[Drop, ...]

    @property
    def failure(self) -> str | None:
        """Return why the model could not be planned at all; None where it could."""
        return next((drop.reason for drop in self.dropped if not drop.entry), None)


@dataclasses.dataclass(frozen=True)
class _Lookup:
    """What finding a model's config.json takes."""

    settings: Settings
    bundled: dict[str, str]
    sources: tuple[ConfigSource, ...]
    may_fetch: bool


def fetch_command(settings: Settings) -> str:
    """Return the command that fetches what these settings need."""
    return " ".join(["python scripts/fetch.py", *settings.words()])


def plan_models(settings: Settings, *, may_fetch: bool) -> list[ModelPlan]:
    """Expand the settings into serving configs, one plan for each model, in the order asked for.

    Reads the cookbook and each model's config.json, from the cache under `settings.results` where
    they are not local, and fetches what is missing if `may_fetch`. Raises KerneldefsError for a
    wrong name or file, for anything missing (naming the fetch command) and for a model that ends
    without a config. Among several models, one that cannot be planned does not hold up the others:
    its plan is empty and its one drop, with no entry, has the reason; it is an error only if no
    model is left with a config.
    """
    for name in settings.hardware:
        if isinstance(reason := find_hardware(name), str):
            raise KerneldefsError(f"hardware: {reason}; config/README.md lists what is known")
    try:
        cookbook = load_cookbook(
            cookbook_folder(settings, may_fetch=may_fetch), settings.cookbook_versions
        )
    except KerneldefsError as error:
        raise _with_command(error, settings) from None
    bundled = bundled_models()
    targets = select(settings, cookbook, bundled)
    lookup = _Lookup(settings, bundled, open_sources(settings.config_sources), may_fetch)
    plans = [_plan(targets[0], lookup)] if len(targets) == 1 else _plan_each(targets, lookup)
    if not any(plan.configs for plan in plans):
        reasons = "; ".join(f"{plan.slug}: {_reasons(plan.dropped)}" for plan in plans)
        raise KerneldefsError(f"no serving config is left to capture: {reasons}")
    return plans


def plan_alone(repo_id: str, settings: Settings) -> ModelPlan:
    """Plan one repository at TP 1, whatever a cookbook says of it, from a config at hand.

    Raises KerneldefsError where there is none.
    """
    target = Target(slug_of(repo_id.rpartition("/")[2]), repo_id)
    sources = open_sources(settings.config_sources)
    return _plan(target, _Lookup(settings, bundled_models(), sources, may_fetch=False))


def cookbook_folder(settings: Settings, *, may_fetch: bool) -> Path:
    """Return the folder with the cookbook's files; a git source is fetched if `may_fetch`."""
    if settings.cookbook == EMBEDDED:
        return EMBEDDED_COOKBOOK
    if settings.cookbook.startswith(PREFIX):
        return git_cookbook(settings.cookbook, settings.results, may_fetch=may_fetch)
    return Path(settings.cookbook).expanduser()


def _with_command(error: KerneldefsError, settings: Settings) -> KerneldefsError:
    """Name the fetch command where what is missing would come over the network."""
    if not settings.cookbook.startswith(PREFIX):
        return error
    return KerneldefsError(f"{error}; run `{fetch_command(settings)}` with a network")


def _plan_each(targets: Iterable[Target], lookup: _Lookup) -> list[ModelPlan]:
    """Plan several models; what keeps one from being planned becomes its plan's only drop."""
    plans = []
    for target in targets:
        try:
            plans.append(_plan(target, lookup))
        except KerneldefsError as error:
            if isinstance(error, hub.UnreachableError):
                lookup = dataclasses.replace(lookup, may_fetch=False)  # the rest would wait, too
            folder = hub.cache_folder(lookup.settings.results, target.repo_id)
            drop = Drop(target.model.cookbook if target.model else "none", "", "", str(error))
            plans.append(ModelPlan(target.slug, target.repo_id, "", folder, (), (drop,)))
    return plans


def _plan(target: Target, lookup: _Lookup) -> ModelPlan:
    settings = lookup.settings
    if target.model is not None and not target.model.language:
        drops = tuple(
            Drop(entry.cookbook, entry.hardware, entry.name, DIFFUSION)
            for entry in target.model.entries
        )
        folder = hub.cache_folder(settings.results, target.repo_id)
        return ModelPlan(target.slug, target.repo_id, "", folder, (), drops)
    config = _model_config(target, lookup)
    asked, dropped = _expand(target, config, settings)
    configs = _configs(target, config, settings, asked)
    return ModelPlan(
        target.slug, config.repo_id, config.revision, config.directory, configs, tuple(dropped)
    )


def _reasons(dropped: Iterable[Drop]) -> str:
    """Each reason once, with the entries that it dropped."""
    by_reason: dict[str, list[str]] = {}
    for drop in dropped:
        by_reason.setdefault(drop.reason, []).append(f"{drop.hardware} {drop.entry}".strip())
    return "; ".join(
        f"{reason} ({', '.join(names)})" if any(names) else reason
        for reason, names in by_reason.items()
    )


def _model_config(target: Target, lookup: _Lookup) -> ModelConfig:
    """Find config.json: the user's directory, a bundled one, a source, the cache, or the hub."""
    settings = lookup.settings
    if target.directory is not None:
        return read_model_config(target.directory, target.repo_id, "local")
    config = _at_hand(target.repo_id, lookup) if settings.revision is None else None
    if config is not None:
        return config
    where = (settings.results, target.repo_id, settings.revision)
    config = hub.cached(*where, with_code=settings.trust_remote_code)
    if config is not None:
        return config
    if not lookup.may_fetch:
        folder = hub.cache_folder(settings.results, target.repo_id).parent
        raise KerneldefsError(
            f"{target.repo_id}: its config.json is not in {folder} yet; run "
            f"`{fetch_command(settings)}` with a network, or give a directory as hf_repo_id"
        )
    try:
        return hub.fetch(*where, with_code=settings.trust_remote_code)
    except KerneldefsError as error:
        raise type(error)(f"{error}; then run `{fetch_command(settings)}`") from None


def _at_hand(repo_id: str, lookup: _Lookup) -> ModelConfig | None:
    """Return the bundled config of a repository, else the first source's; None without either.

    Sources bring no code, so a model whose own code is to run is left to the hub.
    """
    for slug, bundled in lookup.bundled.items():
        if bundled == repo_id:
            return read_model_config(BUNDLED / slug, repo_id, "bundled")
    for source in lookup.sources:
        config = source.find(repo_id)
        if config is not None:
            with_code = lookup.settings.trust_remote_code and remote_code_files(config.data)
            return None if with_code else config
    return None


def _expand(
    target: Target, config: ModelConfig, settings: Settings
) -> tuple[list[Asked], list[Drop]]:
    """Expand the newest version's entries, then add the older ones that ask for the same."""
    asked: list[Asked] = []
    dropped: list[Drop] = []
    for entry in _entries(target.model, settings):
        more, drops = variants_of(entry, config, settings)
        asked += more
        dropped += drops
    newest = {one.variant for one in asked}
    for older in target.older:
        for entry in _entries(older, settings):
            more, drops = variants_of(entry, config, settings)
            asked += [one for one in more if one.variant in newest]
            dropped += drops
            if any(one.variant not in newest for one in more):
                reason = f"superseded by {target.model.cookbook if target.model else ''}"
                dropped.append(Drop(entry.cookbook, entry.hardware, entry.name, reason))
    return asked, dropped


def _entries(model: CookbookModel | None, settings: Settings) -> list[Entry]:
    """A model's entries, in an order that the order of keys in the file does not change."""
    if model is None:
        return default_entries(settings.hardware or DEFAULT_HARDWARE)
    last = len(ORDER)
    return sorted(
        model.entries,
        key=lambda entry: (ORDER.get(canonical(entry.hardware), last), entry.hardware),
    )


def _configs(
    target: Target, config: ModelConfig, settings: Settings, asked: list[Asked]
) -> tuple[ServingConfig, ...]:
    by_variant: dict[Variant, list[Asked]] = {}
    for one in asked:
        by_variant.setdefault(one.variant, []).append(one)
    hardware = {
        v: min((a.hardware for a in same), key=lambda h: ORDER[h.name])
        for v, same in by_variant.items()
    }
    ids = config_ids({v: h.name for v, h in hardware.items()}, config)
    configs = [
        ServingConfig(
            id=ids[variant],
            model=target.slug,
            repo_id=config.repo_id,
            revision=config.revision,
            model_config_sha256=config.sha256,
            hardware=hardware[variant].name,
            gpus_per_node=hardware[variant].gpus_per_node,
            quantization=config.quantization,
            trust_remote_code=settings.trust_remote_code,
            sources=tuple(
                dict.fromkeys(
                    Source(a.entry.cookbook, a.entry.hardware, a.entry.name) for a in same
                )
            ),
            notes=tuple(dict.fromkeys(note for a in same for note in a.notes)),
            **{**vars(variant), "arguments": dict(variant.arguments)},
        )
        for variant, same in by_variant.items()
    ]
    return tuple(sorted(configs, key=lambda one: one.id))
