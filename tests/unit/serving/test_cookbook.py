import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.cookbook import load_cookbook, read_file, slug_of
from kerneldefs.serving.settings import ROOT

from .make import entry, model, write_cookbook


def read(tmp_path: Path, data: object) -> Any:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(data))
    return read_file(path, "v1.0")


def good() -> dict[str, Any]:
    one = model("M-1", "org/M-1", {"H200": [entry(dp=4, ep=2, enable_dp_attention=True)]})
    return {"families": [{"name": "f", "models": [one]}]}


def test_an_entry_is_read_whole(tmp_path: Path) -> None:
    one = entry(
        "fast", 4, dp=2, ep=4, enable_dp_attention=True, quantization="fp8",
        extra_args=["--page-size", 64], env_vars={"B": 1, "A": "x"},
    )  # fmt: skip
    data = {"families": [{"models": [model("My Model", "org/M", {"B200": [one]})]}]}
    (found,) = read(tmp_path, data)
    assert (found.slug, found.repo_id, found.stem) == ("my-model", "org/M", "a")
    assert (found.cookbook, found.version, found.language) == ("v1.0/a.yaml", "v1.0", True)
    (read_entry,) = found.entries
    assert (read_entry.hardware, read_entry.name, read_entry.quantization) == (
        "B200",
        "fast",
        "fp8",
    )
    assert (read_entry.tp, read_entry.dp, read_entry.ep) == (4, 2, 4)
    assert read_entry.enable_dp_attention is True
    assert read_entry.extra_args == ("--page-size", "64")
    assert read_entry.env_vars == (("A", "x"), ("B", "1"))


def test_keys_that_are_not_known_are_noted(tmp_path: Path) -> None:
    one = entry(pp=2) | {"prefill": {"tp": 4}}
    (found,) = read(tmp_path, {"families": [{"models": [model("M", "o/m", {"H100": [one]})]}]})
    assert found.entries[0].notes == (
        "engine key 'pp' left out: not known to this workflow",
        "separate prefill settings ignored",
    )


def test_a_diffusion_model_is_told_apart(tmp_path: Path) -> None:
    data = {"families": [{"models": [model("M", "o/m", {}, diffusion={"model_type": "image"})]}]}
    assert read(tmp_path, data)[0].language is False


MODEL = ("families", 0, "models", 0)
ENTRY = (*MODEL, "hardware", "H200", "configurations", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("families",), 3, r"families: expected a list, found int 3"),
        (("families", 0), None, r"families\[0\]: expected a mapping, found nothing"),
        (("families", 0, "models"), {}, r"families\[0\].models: expected a list"),
        ((*MODEL, "name"), 8, r"models\[0\].name: expected a string, found int 8"),
        ((*MODEL, "name"), "..", r"models\[0\].name: '..' makes no folder name"),
        ((*MODEL, "model_path"), "../../etc", r"model_path: '../../etc' is not a repository id"),
        ((*MODEL, "hardware"), [], r"hardware: expected a mapping"),
        ((*MODEL, "hardware", "H200"), [], r"hardware.H200: expected a mapping"),
        ((*ENTRY, "engine"), None, r"configurations\[0\].engine: expected a mapping"),
        ((*ENTRY, "engine", "tp"), "eight", r"engine.tp: expected a positive whole .* 'eight'"),
        ((*ENTRY, "engine", "tp"), 0, r"engine.tp: expected a positive whole number"),
        ((*ENTRY, "engine", "ep"), True, r"engine.ep: expected a positive whole number"),
        ((*ENTRY, "engine", "enable_dp_attention"), 1, r"enable_dp_attention: expected true or"),
        ((*ENTRY, "engine", "extra_args"), "--x", r"engine.extra_args: expected a list"),
        ((*ENTRY, "engine", "extra_args"), [["--x"]], r"extra_args\[0\]: expected a string"),
        ((*ENTRY, "engine", "env_vars"), ["A"], r"engine.env_vars: expected a mapping"),
        ((*ENTRY, "name"), "", r"configurations\[0\].name: expected a string"),
        ((*ENTRY, "attributes"), "fp8", r"configurations\[0\].attributes: expected a mapping"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(
    tmp_path: Path, path: tuple[Any, ...], value: object, message: str
) -> None:
    data = copy.deepcopy(good())
    inner: Any = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(KerneldefsError, match=rf"^v1\.0/a\.yaml: .*{message}"):
        read(tmp_path, data)


JUNK = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.lists(st.text())
PATHS = st.sampled_from(
    [("families",), MODEL, (*MODEL, "name"), (*MODEL, "hardware"), ENTRY]
    + [(*ENTRY, "engine", key) for key in ("tp", "dp", "ep", "extra_args", "env_vars")]
)


@given(PATHS, JUNK)
def test_any_junk_ends_in_models_or_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[Any, ...], value: object
) -> None:
    data = copy.deepcopy(good())
    inner: Any = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        read(tmp_path_factory.getbasetemp(), data)
    except KerneldefsError as error:
        assert str(error).startswith("v1.0/a.yaml")


def test_versions_compare_as_versions(tmp_path: Path) -> None:
    one = [model("M", "o/m", {"H100": [entry()]})]
    write_cookbook(tmp_path, {f"{v}/m.yaml": one for v in ("v0.5.8", "v0.5.10", "v0.5.6")})
    (tmp_path / "data/models/generated/notes").mkdir()
    found = [m.version for m in load_cookbook(tmp_path)]
    assert found == ["v0.5.10", "v0.5.8", "v0.5.6"]
    assert [m.version for m in load_cookbook(tmp_path, ["0.5.6"])] == ["v0.5.6"]
    inner = tmp_path / "data/models/generated"
    assert len(load_cookbook(inner)) == 3


def test_an_unknown_version_is_named(tmp_path: Path) -> None:
    write_cookbook(tmp_path, {"v0.5.6/m.yaml": [model("M", "o/m", {})]})
    with pytest.raises(KerneldefsError, match=r"no version 'v0.5.7'; nearest: v0.5.6; it has v0"):
        load_cookbook(tmp_path, ["v0.5.7"])


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_no_cookbook_is_named(tmp_path: Path, there: bool) -> None:
    root = tmp_path if there else tmp_path / "none"
    with pytest.raises(KerneldefsError, match="no data/models/generated/<version>"):
        load_cookbook(root)


def test_a_link_out_of_the_cookbook_is_refused(tmp_path: Path) -> None:
    root = write_cookbook(tmp_path / "c", {"v1/m.yaml": [model("M", "o/m", {})]})
    secret = tmp_path / "secret.yaml"
    secret.write_text("families: []\n")
    os.symlink(secret, root / "data/models/generated/v1/link.yaml")
    with pytest.raises(KerneldefsError, match="a link out of the cookbook"):
        load_cookbook(root)


def test_the_embedded_cookbook_reads() -> None:
    found = load_cookbook(ROOT / "config/cookbook")
    kimi = [m for m in found if m.stem == "kimi-k2"]
    assert [m.slug for m in kimi] == ["kimi-k2-instruct"]
    assert [(e.hardware, e.name) for e in kimi[0].entries] == [
        (hardware, name)
        for hardware in ("H200", "B200")
        for name in ("default", "high-throughput-dp", "high-throughput-ep")
    ]


@given(st.text())
def test_a_slug_is_a_safe_folder_name(text: str) -> None:
    slug = slug_of(text)
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert not slug.startswith(".")
    assert slug_of(slug) == slug
