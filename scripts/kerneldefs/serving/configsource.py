"""Published config.json files that are on this machine already: an installed package, a folder.

Neither is needed. Nothing of a package is imported: its files are found by its metadata, so that a
large one costs planning no time.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from kerneldefs.errors import KerneldefsError, nearest
from kerneldefs.serving.modelconfig import CONFIG, FLAT_SUFFIX, ModelConfig, read_model_config

# Packages that carry models' config.json files -> the folder with them, below site-packages.
PACKAGES = {"aiconfigurator-core": "aiconfigurator_core/model_configs"}
REQUIREMENTS = "requirements/configs.txt"
LOCAL = "local"


@dataclasses.dataclass(frozen=True)
class ConfigSource:
    """A folder with configs of many models, in one or several of the layouts of `_places`.

    `revision` says where a config came from, e.g. "aiconfigurator-core-0.12.0".
    """

    folder: Path
    revision: str

    def find(self, repo_id: str) -> ModelConfig | None:
        """Return the config of a repository id, or None; a broken one raises KerneldefsError."""
        for path in _places(self.folder, repo_id):
            if path.is_file() or (path / CONFIG).is_file():
                return read_model_config(path, repo_id, self.revision)
        return None

    def repo_ids(self) -> list[str]:
        """Return the repository ids that have a config here, sorted."""
        return sorted(set(self._found()))

    def _found(self) -> Iterator[str]:
        for path in self.folder.glob(f"*--*{FLAT_SUFFIX}"):
            name = path.name.removesuffix(FLAT_SUFFIX)
            if not name.endswith("_hf_quant"):
                yield name.replace("--", "/", 1)
        for path in self.folder.glob(f"*--*/{CONFIG}"):
            yield path.parent.name.replace("--", "/", 1)
        for path in self.folder.glob(f"*/*/{CONFIG}"):
            yield f"{path.parent.parent.name}/{path.parent.name}"


def _places(folder: Path, repo_id: str) -> list[Path]:
    """Where a folder may hold a repository's config: a file that stands for a directory, or one."""
    flat = repo_id.replace("/", "--")
    return [folder / f"{flat}{FLAT_SUFFIX}", folder / flat, folder / repo_id]


def open_sources(names: Iterable[str]) -> tuple[ConfigSource, ...]:
    """Return the sources that `config_sources` names: directories, or packages of PACKAGES.

    Raises KerneldefsError for a package that is not installed, and for what is neither.
    """
    return tuple(_open(name) for name in names)


def _open(name: str) -> ConfigSource:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return ConfigSource(folder, LOCAL)
    package = re.sub(r"[-_.]+", "-", name).lower()
    if package not in PACKAGES:
        raise KerneldefsError(
            f"config_sources: '{name}' is no directory, and no package with model configs"
            f"{nearest(name, PACKAGES)}; give a directory or {', '.join(PACKAGES)}"
        )
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        raise KerneldefsError(
            f"config_sources: the package {package} is not installed; run `pip install --no-deps "
            f"-r {REQUIREMENTS}` in this environment, or leave it out of config_sources"
        ) from None
    folder = Path(str(found.locate_file(PACKAGES[package])))
    if not folder.is_dir():
        raise KerneldefsError(
            f"config_sources: {package} {found.version} has no {PACKAGES[package]}; install the "
            f"release of {REQUIREMENTS}"
        )
    return ConfigSource(folder, f"{package}-{found.version}")
