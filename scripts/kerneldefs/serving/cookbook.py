"""Reading a cookbook: data/models/generated/{version}/*.yaml, as the sgl-cookbook lays it out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

from packaging.version import InvalidVersion, Version

from kerneldefs.errors import KerneldefsError, nearest
from kerneldefs.serving.places import Mapping, Place
from kerneldefs.serving.yamlfile import load_yaml

GENERATED = Path("data/models/generated")
# As huggingface_hub takes it; "--" and ".." are refused there too, and name the cache's folders.
REPO_ID = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_ENGINE_KEYS = {"env_vars", "tp", "dp", "ep", "enable_dp_attention", "extra_args"}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One configuration of a model on one hardware, as written; sizes are None where it says null.

    `quantization` is the cookbook's label, which config.json may contradict.
    """

    cookbook: str  # version and file, e.g. "v0.5.6/kimi-k2.yaml"
    hardware: str
    name: str
    tp: int | None = None
    dp: int | None = None
    ep: int | None = None
    enable_dp_attention: bool = False
    quantization: str | None = None
    extra_args: tuple[str, ...] = ()
    env_vars: tuple[tuple[str, str], ...] = ()
    other_repository: str | None = None  # quantized_model_path: the entry serves another checkpoint
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class CookbookModel:
    """One model of one file. `language` is False for diffusion models, which call other kernels.

    `family` and `vendor` are names as in commands ("" where the file gives none).
    """

    slug: str
    repo_id: str
    version: str
    stem: str
    family: str
    vendor: str
    cookbook: str
    language: bool
    entries: tuple[Entry, ...]


def slug_of(name: str) -> str:
    """Return a model name as it stands in commands and folder names: lower case, no odd letters."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip(".-")


def load_cookbook(root: Path, versions: Iterable[str] = ()) -> tuple[CookbookModel, ...]:
    """Read the models of every version (or of `versions` alone), newest version first.

    `root` is a folder that holds data/models/generated, or that folder itself. Raises
    KerneldefsError naming file and place of anything that is not as expected.
    """
    base = root / GENERATED if (root / GENERATED).is_dir() else root
    found = _version_folders(base)
    if not found:
        raise KerneldefsError(
            f"cookbook {root}: no {GENERATED}/<version>/*.yaml in it; give the folder that holds "
            f"{GENERATED}"
        )
    names = {version.removeprefix("v"): version for version in found}
    for version in versions:
        if version.removeprefix("v") not in names:
            raise KerneldefsError(
                f"cookbook {root}: no version '{version}'{nearest(version, found)}; it has "
                f"{', '.join(found)}"
            )
    wanted = [names[version.removeprefix("v")] for version in versions] or found
    models: list[CookbookModel] = []
    for version in sorted(wanted, key=Version, reverse=True):
        for path in sorted((base / version).glob("*.yaml")):
            if not path.resolve().is_relative_to(base.resolve()):
                raise KerneldefsError(f"{path}: a link out of the cookbook; copy the file instead")
            models += read_file(path, version)
    return tuple(models)


def _version_folders(base: Path) -> list[str]:
    folders = []
    for folder in sorted(base.iterdir()) if base.is_dir() else []:
        try:
            Version(folder.name)
        except InvalidVersion:
            continue
        if any(folder.glob("*.yaml")):
            folders.append(folder.name)
    return sorted(folders, key=Version)


def read_file(path: Path, version: str) -> list[CookbookModel]:
    """Read one cookbook file; raises KerneldefsError naming the place of a wrong value."""
    name = f"{version}/{path.name}"
    data = Place(load_yaml(path, name), name).mapping()
    models = []
    for family in data.get("families").items():
        known = {
            "version": version,
            "stem": path.stem,
            "family": _name(family.mapping().maybe("name")),
            "vendor": _name(data.maybe("vendor")),
            "cookbook": name,
        }
        models += [
            _model(model.mapping(), known) for model in family.mapping().get("models").items()
        ]
    return models


def _name(place: Place | None) -> str:
    return "" if place is None else slug_of(place.text())


def _model(data: Mapping, known: dict[str, str]) -> CookbookModel:
    """Read one model; `known` is what its file and family say of it."""
    name, repo = data.get("name"), data.get("model_path")
    slug, repo_id = slug_of(name.text()), repo.text()
    if not slug:
        raise KerneldefsError(f"{name.place}: '{name.data}' makes no folder name")
    if not REPO_ID.fullmatch(repo_id):
        raise KerneldefsError(f"{repo.place}: '{repo_id}' is not a repository id (org/name)")
    entries = [
        _entry(entry.mapping(), hardware, known["cookbook"])
        for hardware, product in data.get("hardware").mapping().members()
        for entry in product.mapping().get("configurations").items()
    ]
    attributes = data.maybe("attributes")
    language = attributes is None or "diffusion" not in attributes.mapping().data
    return CookbookModel(slug, repo_id, language=language, entries=tuple(entries), **known)


def _entry(data: Mapping, hardware: str, name: str) -> Entry:
    engine = data.get("engine").mapping()
    unknown = sorted(set(map(str, engine.data)) - _ENGINE_KEYS)
    notes = [f"engine key '{key}' left out: not known to this workflow" for key in unknown]
    notes += [
        f"separate {key} settings ignored" for key in ("prefill", "decode") if data.maybe(key)
    ]
    attributes = data.maybe("attributes")
    label = attributes.mapping().maybe("quantization") if attributes else None
    other = data.maybe("quantized_model_path")
    dp_attention = engine.maybe("enable_dp_attention")
    arguments = engine.maybe("extra_args")
    environment = engine.maybe("env_vars")
    return Entry(
        cookbook=name,
        hardware=hardware,
        name=data.get("name").text(),
        tp=_size(engine.maybe("tp")),
        dp=_size(engine.maybe("dp")),
        ep=_size(engine.maybe("ep")),
        enable_dp_attention=dp_attention is not None and dp_attention.flag(),
        quantization=label.text() if label else None,
        extra_args=tuple(item.word() for item in arguments.items()) if arguments else (),
        env_vars=_variables(environment.mapping()) if environment else (),
        other_repository=other.text() if other else None,
        notes=tuple(notes),
    )


def _size(value: Place | None) -> int | None:
    return None if value is None else value.size()


def _variables(environment: Mapping) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value.word()) for name, value in environment.members()))
