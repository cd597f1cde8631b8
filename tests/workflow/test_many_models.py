"""Runs of several models: each is staged or fails by itself, and the end of the run names all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from .conftest import Project, Result

ENGINE = {"tp": 8, "dp": None, "ep": None, "enable_dp_attention": None, "extra_args": []}
FORCED = "attention_backends=auto cookbook=book config_sources=configs"


def model(name: str, hardware: str, **engine: int) -> dict:
    """One model of a cookbook, served in one way."""
    entry = {"name": "default", "engine": {**ENGINE, **engine}}
    return {
        "name": name,
        "model_path": f"o/{name}",
        "hardware": {hardware: {"configurations": [entry]}},
    }


@pytest.fixture
def family(quick: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A cookbook of three models that are Kimi-K2 by their config; the third's cannot be had."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nothing listens
    models = [model("first", "H200"), model("second", "B200", ep=4), model("third", "H200")]
    path = quick.folder / "book/data/models/generated/v1.0/file.yaml"
    path.parent.mkdir(parents=True)
    families = [{"name": "Tribe", "models": models[:2]}, {"name": "Other", "models": models[2:]}]
    path.write_text(yaml.safe_dump({"vendor": "house", "families": families}))
    for name in ("first", "second"):
        target = quick.folder / "configs" / f"o--{name}"
        shutil.copytree(quick.folder / "config/models/kimi-k2", target)
    return quick


def staged(project: Project) -> dict[str, int]:
    """How many definitions each model has."""
    return {name: len(project.staged(name)) for name in ("first", "second", "third")}


def lines(result: Result, word: str) -> list[str]:
    """The lines of the run's last table and what follows it, that a word is in."""
    return [line for line in result.output.rpartition("verdict")[2].splitlines() if word in line]


def test_one_models_failures_leave_the_others_staged_and_are_named(family: Project) -> None:
    (family.folder / "FAIL").write_text("b200-tp8-ep4-fp8-auto")
    result = family.run(config=f"model=house {FORCED}", ok=False)
    counts = staged(family)
    assert counts["first"] > 5
    assert (counts["second"], counts["third"]) == (0, 0)
    assert "1 of 3 models have no serving config, as the summary explains: third" in result.output
    assert "logs/capture/b200-tp8-ep4-fp8-auto.log" in result.output
    assert [line.split()[1] for line in lines(result, "first ")][:1] == ["passed"]
    assert lines(result, "second ") and "passed" not in lines(result, "second ")[0]
    assert any("the hub could not be reached" in line for line in lines(result, "third"))

    # What failed is made up for by itself, once it can be.
    (family.folder / "FAIL").write_text("")
    done = family.run(config=f"model=tribe {FORCED}")
    assert done.jobs["capture"] == 1
    assert staged(family)["second"] > 5
    assert "Nothing to be done" in family.run(config=f"model=first,second {FORCED}").output


def test_all_is_every_model(family: Project) -> None:
    result = family.run("-n", config=f"model=all {FORCED}")
    assert result.jobs["capture"] == 2
    assert result.jobs["planned"] == 1


@pytest.mark.parametrize("words", ["model=tribe", "model=o/first,second", "model=second,file"])
def test_families_lists_and_files_name_models(family: Project, words: str) -> None:
    result = family.run("-n", config=f"{words} {FORCED}")
    assert result.jobs["capture"] == 2
    assert ("planned" in result.jobs) == ("file" in words)


def test_a_source_that_is_not_there_ends_in_a_sentence(empty: Project) -> None:
    result = empty.run("-n", config="model=o/m config_sources=nowhere", ok=False)
    assert "error: config_sources: 'nowhere' is no directory" in result.output
    assert "Traceback" not in result.output


def test_results_of_a_run_hang_on_no_other_model(family: Project, tmp_path: Path) -> None:
    """The same bytes, whether a model is captured alone or among others."""
    family.run(config=f"model=tribe {FORCED}")
    together = {p.name: p.read_bytes() for p in family.path("definitions", "first").rglob("*.json")}
    family.run(config=f"model=first {FORCED} results={tmp_path}/alone")
    alone = (tmp_path / "alone/first/definitions").rglob("*.json")
    assert {path.name: path.read_bytes() for path in alone} == together
