"""The lock is one truth: complete, repeated exactly in environment.yml, and what is installed."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from kerneldefs.capture.simulate.releases import RELEASES
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FILES = ("base.txt", "no-deps.txt", "kernel.txt", "dev.txt")
PIN = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+]+)")


def pins(*names: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        for line in (ROOT / "requirements" / name).read_text().splitlines():
            text = line.partition("#")[0].strip()
            if not text or text.startswith("-c "):
                continue
            match = PIN.fullmatch(text)
            assert match, f"{name}: not an exact pin: {text}"
            package = canonicalize_name(match[1])
            assert package not in found, f"{name}: {package} is pinned twice"
            found[package] = match[2]
    return found


def test_every_package_is_pinned_once() -> None:
    assert {"sglang", "flashinfer-python", "torch", "snakemake", "pytest"} <= set(pins(*FILES))
    assert not set(pins(*FILES)) & set(pins("constraints-cuda.txt"))


def test_conda_users_get_the_same_pins() -> None:
    document = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [entry for entry in document["dependencies"] if isinstance(entry, str)]
    (pip,) = (entry["pip"] for entry in document["dependencies"] if isinstance(entry, dict))
    assert conda == ["python=3.11", "pip"]
    assert all(PIN.fullmatch(entry) for entry in pip)
    assert dict(entry.split("==") for entry in pip) == pins("base.txt", "dev.txt")


def test_conda_and_make_install_the_rest_in_the_same_way() -> None:
    deploy = (ROOT / "environment.post-deploy.sh").read_text()
    make = (ROOT / "Makefile").read_text()
    for step in (
        "--no-deps -r requirements/no-deps.txt",
        "scripts/kernel_package.py requirements/kernel.txt",
    ):
        assert step in deploy
        assert step in make


def test_pins_are_those_that_the_packages_installed_without_dependencies_ask_for() -> None:
    """pip does not check these, and sglang with another sglang-kernel loses models silently."""
    known = pins(*FILES)
    checked = 0
    for name in pins("no-deps.txt"):
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            package = canonicalize_name(requirement.name)
            if package not in known or (requirement.marker and "extra" in str(requirement.marker)):
                continue
            checked += 1
            assert requirement.specifier.contains(known[package]), f"{name} asks for {text}"
    assert checked > 20


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="not in the environment make makes")
def test_the_environment_holds_the_lock_and_nothing_else() -> None:
    installed = {
        canonicalize_name(one.metadata["Name"]): one.version.partition("+")[0]
        for one in metadata.distributions()
    }
    installed.pop("pip", None)
    expected = pins(*FILES)
    optional = pins("constraints-cuda.txt", "configs.txt", "slurm.txt")
    extra = {name: version for name, version in installed.items() if name not in expected}
    assert {name: installed.get(name) for name in expected} == expected
    assert extra.items() <= optional.items()


def test_the_extra_is_the_optional_requirement() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = dict(text.split("==") for text in project["optional-dependencies"]["configs"])
    assert extra == pins("configs.txt")
    assert not extra.keys() & pins(*FILES).keys()


def test_every_pair_of_releases_that_is_known_can_be_installed() -> None:
    pairs = {release.sglang: release.flashinfer for release in RELEASES}
    lock = pins("no-deps.txt")
    assert pairs.pop(lock["sglang"]) == lock["flashinfer-python"]
    folders = [path.name for path in (ROOT / "requirements/releases").iterdir()]
    assert sorted(folders) == sorted(pairs)
    for sglang, flashinfer in pairs.items():
        found = pins(f"releases/{sglang}/no-deps.txt")
        assert found.items() >= {"sglang": sglang, "flashinfer-python": flashinfer}.items()
        assert set(pins(f"releases/{sglang}/kernel.txt")) == {"sglang-kernel"}
