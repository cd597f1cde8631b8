from pathlib import Path
from typing import Any

import pytest
import yaml
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.cookbook import CookbookModel, load_cookbook
from kerneldefs.serving.select import Target, select
from kerneldefs.serving.settings import Settings

from .make import entry, model, write_cookbook, write_model

BUNDLED = {"tiny": "org/Tiny-Base", "big": "org/Big"}
HARDWARE = {"H100": [entry()]}


@pytest.fixture
def book(tmp_path: Path) -> tuple[CookbookModel, ...]:
    files = {
        "v0.5.6/big.yaml": [
            model("Big", "org/Big", HARDWARE),
            model("Big-Chat", "org/Big-Chat", HARDWARE),
        ],
        "v0.5.6/twice.yaml": [
            model("Twice", "org/Twice", HARDWARE),
            model("Twice-FP8", "org/Twice", HARDWARE),
        ],
        "v0.5.6/old.yaml": [model("Renamed", "org/New", HARDWARE)],
        "v0.5.10/new.yaml": [model("New", "org/New", HARDWARE)],
        "v0.5.10/pictures.yaml": [model("Picture", "org/Picture", HARDWARE, diffusion={})],
    }
    return load_cookbook(write_cookbook(tmp_path / "cookbook", files))


def targets(book: tuple[CookbookModel, ...], **settings: Any) -> list[Target]:
    return select(Settings.from_mapping({"cookbook": "x", **settings}), book, BUNDLED)


def slugs(book: tuple[CookbookModel, ...], **settings: Any) -> list[str]:
    return [target.slug for target in targets(book, **settings)]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("big", ["big"]),  # an exact slug comes before the file of the same stem
        ("BIG-chat", ["big-chat"]),
        ("twice", ["twice"]),
        ("org/Twice", ["twice", "twice-fp8"]),
        ("twice-fp8", ["twice-fp8"]),
        ("tiny", ["tiny"]),
        ("org/Tiny-Base", ["tiny"]),
        ("org/other", ["other"]),
        ("big,tiny,big", ["big", "tiny"]),
        ("all", ["new", "picture", "big", "big-chat", "twice", "twice-fp8"]),
        ("renamed", ["new"]),
        ("old", ["new"]),
        ("pictures", ["picture"]),
    ],
)
def test_what_a_word_names(book: tuple[CookbookModel, ...], word: str, found: list[str]) -> None:
    assert slugs(book, model=word) == found


def test_a_stem_names_every_model_of_the_file(tmp_path: Path) -> None:
    models = [model("A", "o/a", HARDWARE), model("B", "o/b", HARDWARE)]
    root = write_cookbook(tmp_path, {"v1.0/family.yaml": models})
    assert slugs(load_cookbook(root), model="family") == ["a", "b"]


def test_a_family_and_a_vendor_name_their_models(tmp_path: Path) -> None:
    models = {name: model(name.upper(), f"o/{name}", HARDWARE) for name in "abcde"}
    root = write_cookbook(tmp_path, {"v1.0/one.yaml": [], "v1.0/two.yaml": [], "v0.9/old.yaml": []})
    data = {
        "v1.0/one.yaml": [("Fam 1", ["a", "b"]), ("vend", ["c"])],
        "v1.0/two.yaml": [("fam-2", ["d"])],
        "v0.9/old.yaml": [("fam-1", ["e"])],
    }
    for name, families in data.items():
        text = {
            "vendor": "Vendor-X" if name != "v1.0/two.yaml" else "tiny",
            "families": [{"name": f, "models": [models[m] for m in ms]} for f, ms in families],
        }
        (root / "data/models/generated" / name).write_text(yaml.safe_dump(text))
    book = load_cookbook(root)
    assert slugs(book, model="FAM-1") == ["a", "b", "e"]
    assert slugs(book, model="vendor-x") == ["a", "b", "c", "e"]
    assert slugs(book, model="vend") == ["c"]
    assert slugs(book, model="tiny") == ["tiny"]  # a bundled model comes before a vendor
    with pytest.raises(KerneldefsError, match="nearest: fam-2"):
        slugs(book, model="fam-3")


def test_a_bundled_slug_carries_its_repository_and_entries(tmp_path: Path) -> None:
    models = [model("Tiny-Base-Chat", "org/Tiny-Base", HARDWARE)]
    found = targets(load_cookbook(write_cookbook(tmp_path, {"v1.0/x.yaml": models})), model="tiny")
    assert [(t.slug, t.repo_id) for t in found] == [("tiny-base-chat", "org/Tiny-Base")]
    assert found[0].model is not None


def test_all_of_the_embedded_cookbook_has_the_bundled_models(
    book: tuple[CookbookModel, ...],
) -> None:
    assert "tiny" in slugs(book, model="all", cookbook="embedded")
    assert "tiny" not in slugs(book, model="all")


def test_older_versions_are_kept_beside_the_newest(book: tuple[CookbookModel, ...]) -> None:
    (target,) = targets(book, model="new")
    assert target.model is not None
    assert target.model.cookbook == "v0.5.10/new.yaml"
    assert [older.cookbook for older in target.older] == ["v0.5.6/old.yaml"]


def test_a_directory(book: tuple[CookbookModel, ...], tmp_path: Path) -> None:
    folder = write_model(tmp_path / "My Model", {})
    (target,) = targets(book, model=str(folder))
    assert (target.slug, target.repo_id) == ("my-model", "local/My Model")
    assert target.directory == folder


def test_an_unknown_model_is_named_with_the_nearest(book: tuple[CookbookModel, ...]) -> None:
    with pytest.raises(KerneldefsError, match=r"model 'bigg' is not in .*; nearest: big, "):
        slugs(book, model="bigg")


def test_hf_repo_id_gives_the_config_and_model_the_entries(
    book: tuple[CookbookModel, ...], tmp_path: Path
) -> None:
    (target,) = targets(book, model="big", hf_repo_id="mirror/big")
    assert (target.slug, target.repo_id) == ("big", "mirror/big")
    assert target.model is not None
    folder = write_model(tmp_path / "m", {})
    (target,) = targets(book, model="big", hf_repo_id=str(folder))
    assert (target.directory, target.repo_id) == (folder, "local/m")
    (target,) = targets(book, model="mine", hf_repo_id="org/Big-Chat")
    assert (target.slug, target.repo_id) == ("mine", "org/Big-Chat")
    assert target.model is not None
    (target,) = targets(book, model="mine", hf_repo_id="org/none")
    assert (target.slug, target.repo_id, target.model) == ("mine", "org/none", None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "a,b", "hf_repo_id": "o/m"}, "is of one model, but 2 are asked for"),
        ({"model": "all", "hf_repo_id": "o/m"}, "is of one model, but all are asked for"),
        ({"model": "org/Twice", "hf_repo_id": "o/m"}, "names 2: twice, twice-fp8"),
        ({"model": "big", "hf_repo_id": "no-repo"}, "is no repository id"),
        ({"model": "big,tiny", "revision": "r"}, r"but 2 models are asked for \(big, tiny\)"),
        ({"model": "x/a,y/a"}, "models x/a and y/a are both called 'a'"),
    ],
)
def test_settings_that_do_not_go_together(
    book: tuple[CookbookModel, ...], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(KerneldefsError, match=message):
        targets(book, **settings)


def test_a_directory_has_no_revision(book: tuple[CookbookModel, ...], tmp_path: Path) -> None:
    with pytest.raises(KerneldefsError, match="has no revisions"):
        targets(book, model=str(write_model(tmp_path, {})), revision="r")


def test_an_older_name_continues_once(tmp_path: Path) -> None:
    files = {
        "v0.5.6/a.yaml": [model("Old", "o/m", HARDWARE), model("M-FP8", "o/m", HARDWARE)],
        "v0.5.8/a.yaml": [model("M", "o/m", HARDWARE), model("M-FP8", "o/m", HARDWARE)],
    }
    found = targets(load_cookbook(write_cookbook(tmp_path, files)), model="o/m")
    older = {target.slug: [m.slug for m in target.older] for target in found}
    assert older == {"m": ["old"], "m-fp8": ["m-fp8"]}
