"""What the `model` setting names: cookbook models, bundled models, repositories, directories."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from kerneldefs.errors import KerneldefsError, nearest
from kerneldefs.serving.cookbook import REPO_ID, CookbookModel, slug_of
from kerneldefs.serving.modelconfig import CONFIG
from kerneldefs.serving.places import Place
from kerneldefs.serving.settings import EMBEDDED, ROOT, Settings
from kerneldefs.serving.yamlfile import load_yaml

BUNDLED = ROOT / "config" / "models"
ALL = "all"


@dataclasses.dataclass(frozen=True)
class Target:
    """One model to plan. `model` is its newest cookbook entry, `older` those of older versions.

    `directory` is set for a model that the user gave as a local directory.
    """

    slug: str
    repo_id: str
    directory: Path | None = None
    model: CookbookModel | None = None
    older: tuple[CookbookModel, ...] = ()


def bundled_models(folder: Path = BUNDLED) -> dict[str, str]:
    """Return {slug: repository id} of the configs that this project ships."""
    models = {}
    for path in sorted(folder.glob("*/model.yaml")):
        data = Place(load_yaml(path), str(path)).mapping()
        models[path.parent.name] = data.get("repo_id").text()
    return models


def select(
    settings: Settings, cookbook: tuple[CookbookModel, ...], bundled: dict[str, str]
) -> list[Target]:
    """Return the models that `model` and `hf_repo_id` name, each once, in the order named.

    Raises KerneldefsError for an unknown name (naming the nearest), for two models that would
    share a results folder, and for `hf_repo_id` or `revision` beside more than one model.
    """
    if settings.hf_repo_id is not None:
        targets = [_with_repository(settings, cookbook, bundled)]
    else:
        found = [t for word in settings.model for t in _find(word, settings, cookbook, bundled)]
        targets = list(dict.fromkeys(found))
    if settings.revision is not None:
        _check_revision(settings.revision, targets)
    slugs: dict[str, Target] = {}
    for target in targets:
        other = slugs.setdefault(target.slug, target)
        if other != target:
            raise KerneldefsError(
                f"models {other.repo_id} and {target.repo_id} are both called '{target.slug}'; "
                f"run them apart, with results= of their own"
            )
    return targets


def _check_revision(revision: str, targets: list[Target]) -> None:
    if len(targets) > 1:
        raise KerneldefsError(
            f"revision '{revision}' is of one repository, but {len(targets)} models are asked for "
            f"({', '.join(target.slug for target in targets)}); name one model"
        )
    if targets[0].directory is not None:
        raise KerneldefsError(
            f"revision '{revision}': the directory {targets[0].directory} has no revisions; leave "
            f"revision empty"
        )


def _with_repository(
    settings: Settings, cookbook: tuple[CookbookModel, ...], bundled: dict[str, str]
) -> Target:
    """The one model of `model`, with its config.json from `hf_repo_id`."""
    source = str(settings.hf_repo_id)
    if len(settings.model) != 1 or settings.model[0] == ALL:
        count = ALL if ALL in settings.model else len(settings.model)
        raise KerneldefsError(
            f"hf_repo_id '{source}' is of one model, but {count} are asked for; name one model"
        )
    given = _given(source)
    if given is None:
        raise KerneldefsError(
            f"hf_repo_id '{source}' is no repository id (org/name) and no directory with a "
            f"{CONFIG}; give one of the two"
        )
    word = settings.model[0]
    named = _known(word, cookbook, bundled)
    if len(named) > 1:
        raise KerneldefsError(
            f"hf_repo_id '{source}' is of one model, but '{word}' names {len(named)}: "
            f"{', '.join(target.slug for target in named)}; name one of them"
        )
    if named:
        return dataclasses.replace(named[0], repo_id=given.repo_id, directory=given.directory)
    slug = slug_of(word.rpartition("/")[2])
    return dataclasses.replace(_of_repository(given, cookbook), slug=slug)


def _find(
    word: str, settings: Settings, cookbook: tuple[CookbookModel, ...], bundled: dict[str, str]
) -> list[Target]:
    if word == ALL:
        return _all(settings, cookbook, bundled)
    targets = _known(word, cookbook, bundled)
    if targets:
        return targets
    given = _given(word)
    if given is not None:
        return [_of_repository(given, cookbook)]
    names = ("slug", "stem", "repo_id", "family", "vendor")
    known = {getattr(model, key) for model in cookbook for key in names} - {""}
    known |= set(bundled) | set(bundled.values())
    raise KerneldefsError(
        f"model '{word}' is not in the cookbook '{settings.cookbook}', nor bundled, nor a "
        f"repository id (org/name), nor a directory with a {CONFIG}{nearest(word, known)}"
    )


def _all(
    settings: Settings, cookbook: tuple[CookbookModel, ...], bundled: dict[str, str]
) -> list[Target]:
    """Every model of the cookbook; bundled ones belong to the embedded cookbook."""
    names = [model.slug for model in cookbook]
    if settings.cookbook == EMBEDDED:
        names += bundled
    return [target for name in names for target in _known(name, cookbook, bundled)]


def _known(word: str, cookbook: tuple[CookbookModel, ...], bundled: dict[str, str]) -> list[Target]:
    """Look a name up: model slug, file stem, family, bundled slug, repository id, vendor."""
    name = word.lower()
    for key in ("slug", "stem", "family"):
        if models := _called(name, key, cookbook):
            return _newest(models, cookbook)
    repo_id = bundled.get(name, word)
    models = [model for model in cookbook if model.repo_id.lower() == repo_id.lower()]
    if models:
        return _newest(models, cookbook)
    slugs = [s for s, repo in bundled.items() if name in (s, repo.lower())]
    if slugs:
        return [Target(slug, bundled[slug]) for slug in slugs]
    return _newest(_called(name, "vendor", cookbook), cookbook)


def _called(name: str, key: str, cookbook: tuple[CookbookModel, ...]) -> list[CookbookModel]:
    return [model for model in cookbook if getattr(model, key).lower() == name]


def _newest(named: list[CookbookModel], cookbook: tuple[CookbookModel, ...]) -> list[Target]:
    """Group by repository; the newest version counts and the others are kept as older.

    `cookbook` has the newest version first. A repository may stand under two names in one version
    (a quantized way to serve it): then the names asked for count.
    """
    targets = []
    for repo_id in dict.fromkeys(model.repo_id for model in named):
        everywhere = [model for model in cookbook if model.repo_id == repo_id]
        newest = [model for model in everywhere if model.version == everywhere[0].version]
        slugs = {model.slug for model in named if model.repo_id == repo_id}
        chosen = [model for model in newest if model.slug in slugs] or newest
        for model in chosen:
            older = [m for m in everywhere if m not in newest and _same(m, model, newest)]
            targets.append(Target(model.slug, repo_id, None, model, tuple(older)))
    return targets


def _same(older: CookbookModel, model: CookbookModel, newest: list[CookbookModel]) -> bool:
    """Whether an older version's model continues as `model`: by name, else by its repository."""
    continues = {other.slug for other in newest}
    return older.slug == model.slug or (older.slug not in continues and model is newest[0])


def _given(word: str) -> Target | None:
    """A directory with a config.json, or a repository id; a directory that exists wins."""
    path = Path(word).expanduser()
    if (path / CONFIG).is_file() or word.startswith(("/", "./", "../", "~")):
        name = path.resolve().name
        return Target(slug_of(name), f"local/{name}", path)
    if REPO_ID.fullmatch(word):
        return Target(slug_of(word.rpartition("/")[2]), word)
    return None


def _of_repository(given: Target, cookbook: tuple[CookbookModel, ...]) -> Target:
    """Add the cookbook's entries for a repository, where it has any under one name."""
    models = [model for model in cookbook if model.repo_id == given.repo_id]
    found = _newest(models, cookbook)
    return found[0] if len(found) == 1 else given
