import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.configsource import PACKAGES, ConfigSource, open_sources
from kerneldefs.serving.modelconfig import materialise, read_model_config
from kerneldefs.serving.settings import ROOT

from .make import COMMIT, MOE, plans, write_model

QUANT = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}


def write_flat(folder: Path, name: str, quant: dict | None = None) -> Path:
    """Write a config as the package holds it; `name` is {org}--{name}."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_config.json"
    path.write_text(json.dumps(MOE))
    if quant is not None:
        (folder / f"{name}_hf_quant_config.json").write_text(json.dumps(quant))
    return path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a package with one model's config look installed; return its folder of configs."""
    site = tmp_path / "site"
    info = site / "aiconfigurator_core-9.8.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: aiconfigurator-core\nVersion: 9.8\n")
    folder = site / PACKAGES["aiconfigurator-core"]
    write_flat(folder, "o--m", QUANT)
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    return folder


def test_a_package_is_found_by_repository_id(package: Path) -> None:
    (source,) = open_sources(["aiconfigurator_core"])
    assert source == ConfigSource(package, "aiconfigurator-core-9.8")
    config = source.find("o/m")
    assert config is not None
    assert (config.repo_id, config.revision) == ("o/m", "aiconfigurator-core-9.8")
    assert (config.experts, config.quantization) == (64, "nvfp4")
    assert source.find("o/other") is None
    assert "aiconfigurator_core" not in sys.modules


def test_every_layout_of_a_directory_is_found(tmp_path: Path) -> None:
    write_flat(tmp_path, "o--flat", QUANT)
    write_model(tmp_path / "o--folder", MOE)
    write_model(tmp_path / "o/nested--twice", MOE)
    write_flat(tmp_path, "no-org")
    (source,) = open_sources([str(tmp_path)])
    assert source.repo_ids() == ["o/flat", "o/folder", "o/nested--twice"]
    for repo_id in source.repo_ids():
        config = source.find(repo_id)
        assert config is not None
        assert config.experts == 64


def test_sglang_gets_the_files_of_a_flat_config(tmp_path: Path) -> None:
    path = write_flat(tmp_path / "source", "o--m", QUANT)
    (tmp_path / "source/modeling.py").write_text("not this model's")
    (tmp_path / "model").mkdir()
    materialise(path, tmp_path / "model", trust_remote_code=True)
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "config.json",
        "hf_quant_config.json",
    ]
    given, written = read_model_config(path, "", ""), read_model_config(tmp_path / "model", "", "")
    assert given.sha256 == written.sha256


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("aiconfigurator", "is no directory, and no package.*; nearest: aiconfigurator-core"),
        ("/nowhere", "'/nowhere' is no directory"),
    ],
)
def test_what_is_no_source_is_named(name: str, message: str) -> None:
    with pytest.raises(KerneldefsError, match=message):
        open_sources([name])


def test_a_package_that_is_not_installed_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PACKAGES, "no-such-configs", "somewhere")
    with pytest.raises(KerneldefsError, match=r"no-such-configs is not installed; run `pip inst"):
        open_sources(["no-such-configs"])
    assert (ROOT / "requirements/configs.txt").is_file()


def test_a_package_of_another_layout_is_an_error(package: Path) -> None:
    package.rename(package.with_name("elsewhere"))
    with pytest.raises(KerneldefsError, match=r"aiconfigurator-core 9\.8 has no"):
        open_sources(["aiconfigurator-core"])


def test_a_source_comes_after_the_bundled_and_before_the_fetched(
    package: Path, tmp_path: Path, in_cache: Callable[..., Path]
) -> None:
    in_cache("o/m", MOE)
    given = {"results": str(tmp_path / "results"), "config_sources": "aiconfigurator-core"}
    (found,) = plans(model="o/m", **given)
    assert (found.revision, found.model_config.parent) == ("aiconfigurator-core-9.8", package)
    assert {config.quantization for config in found.configs} == {"nvfp4"}
    write_flat(package, "meta-llama--Llama-3.1-8B")
    (llama,) = plans(model="llama-3.1-8b", **given)
    assert llama.revision == "bundled"
    (fetched,) = plans(model="o/m", revision=COMMIT, **given)
    assert fetched.revision == COMMIT


def test_sources_are_asked_in_the_order_given(package: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "own/o--m", MOE)
    for names in ([str(tmp_path / "own"), "aiconfigurator-core"], ["aiconfigurator-core"]):
        (found,) = plans(model="o/m", config_sources=names)
        assert (found.revision == "local") == (len(names) == 2)


def test_a_model_whose_own_code_is_to_run_is_left_to_the_hub(tmp_path: Path) -> None:
    write_model(tmp_path / "own/o--m", MOE | {"auto_map": {"AutoConfig": "configuration_x.X"}})
    given = {"config_sources": str(tmp_path / "own"), "results": str(tmp_path)}
    assert plans(model="o/m", **given)[0].revision == "local"
    with pytest.raises(KerneldefsError, match=r"run `python scripts/fetch\.py"):
        plans(model="o/m", trust_remote_code=True, **given)
