"""Where a model's config.json comes from, and what happens where it cannot be had."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving import hub
from kerneldefs.serving.expand import plan_models
from kerneldefs.serving.settings import Settings

from .make import COMMIT, MOE, entry, ids, model, plans, reasons, write_cookbook


def test_older_versions_are_sources_or_superseded(
    tmp_path: Path, in_cache: Callable[..., Path]
) -> None:
    root = write_cookbook(
        tmp_path,
        {
            "v0.5.8/m.yaml": [model("M", "o/m", {"H200": [entry(), entry("small", 2)]})],
            "v0.5.10/m.yaml": [model("M", "o/m", {"H200": [entry()]})],
        },
    )
    in_cache("o/m", MOE)
    given = {"model": "m", "cookbook": str(root), "results": str(tmp_path / "results")}
    (found,) = plans(**given, attention_backends="auto")
    assert [source.cookbook for source in found.configs[0].sources] == [
        "v0.5.10/m.yaml",
        "v0.5.8/m.yaml",
    ]
    assert [(d.cookbook, d.entry, d.reason) for d in found.dropped] == [
        ("v0.5.8/m.yaml", "small", "superseded by v0.5.10/m.yaml")
    ]
    (found,) = plans(**given, attention_backends="auto", cookbook_versions="v0.5.8")
    assert ids(found) == ["h200-tp2-bf16-auto", "h200-tp8-bf16-auto"]


def test_a_config_that_is_not_there_names_the_command(tmp_path: Path) -> None:
    given = {"model": "o/m", "results": str(tmp_path), "tp_list": "2,4"}
    with pytest.raises(KerneldefsError) as caught:
        plans(**given)
    command = f"python scripts/fetch.py model=o/m tp_list=2,4 results={tmp_path}"
    assert f"run `{command}`" in str(caught.value)


def test_a_cached_config_needs_no_network(tmp_path: Path, in_cache: Callable[..., Path]) -> None:
    folder = in_cache("o/m", MOE)
    results = str(tmp_path / "results")
    for revision in (None, COMMIT, "main"):
        (found,) = plans(model="o/m", results=results, revision=revision)
        assert (found.model_config, found.revision) == (folder, COMMIT)


def test_a_revision_passes_the_bundled_config_by(
    tmp_path: Path, in_cache: Callable[..., Path]
) -> None:
    folder = in_cache("meta-llama/Llama-3.1-8B", MOE)
    results = str(tmp_path / "results")
    (found,) = plans(model="llama-3.1-8b", results=results, revision=COMMIT)
    assert found.model_config == folder
    (found,) = plans(model="llama-3.1-8b", results=results)
    assert found.revision == "bundled"


def test_what_is_missing_is_fetched_when_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_cache: Callable[..., Path]
) -> None:
    folder = in_cache("o/m", MOE, "f" * 40)

    def fetch(results: Path, repo_id: str, revision: str | None, *, with_code: bool) -> Any:
        assert (repo_id, revision, with_code) == ("o/m", "v2", False)
        return hub.read_model_config(folder, repo_id, "f" * 40)

    monkeypatch.setattr(hub, "fetch", fetch)
    settings = Settings.from_mapping({"model": "o/m", "revision": "v2", "results": str(tmp_path)})
    (found,) = plan_models(settings, may_fetch=True)
    assert found.revision == "f" * 40


def test_a_failed_fetch_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: Any, **__: Any) -> Any:
        raise KerneldefsError("o/m is gated: do this")

    monkeypatch.setattr(hub, "fetch", fetch)
    settings = Settings.from_mapping({"model": "o/m", "results": str(tmp_path)})
    message = "^o/m is gated: do this; then run `python scripts/fetch.py model=o/m results="
    with pytest.raises(KerneldefsError, match=message):
        plan_models(settings, may_fetch=True)


def test_a_cookbook_that_is_not_there_names_the_command(tmp_path: Path) -> None:
    source = f"git+https://host/x@{COMMIT}"
    with pytest.raises(KerneldefsError, match=r"is not in .* yet; run `python scripts/fetch\.py"):
        plans(cookbook=source, results=str(tmp_path))


def test_one_of_several_models_does_not_hold_up_the_others(tmp_path: Path) -> None:
    picture = model("P", "o/p", {"H100": [entry()]}, diffusion={})
    root = write_cookbook(tmp_path, {"v1.0/p.yaml": [picture]})
    given = {"cookbook": str(root), "results": str(tmp_path / "results")}
    good, missing, pictures = plans(model="llama-3.1-8b,o/m,p", **given)
    assert len(good.configs) == 4
    assert (missing.configs, [drop.entry for drop in missing.dropped]) == ((), [""])
    assert "scripts/fetch.py" in missing.dropped[0].reason
    assert reasons(pictures) == [
        ("H100", "default", "a diffusion model; only language models are captured")
    ]
    with pytest.raises(KerneldefsError, match=r"no serving config is left .*: m: .*; p: a diff"):
        plans(model="o/m,p", **given)
    with pytest.raises(KerneldefsError, match="p: a diffusion model"):
        plans(model="p", **given)


def test_a_hub_that_does_not_answer_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(results: Path, repo_id: str, revision: str | None, *, with_code: bool) -> Any:
        asked.append(repo_id)
        kind = KerneldefsError if repo_id == "o/gated" else hub.UnreachableError
        raise kind(f"{repo_id}: no")

    monkeypatch.setattr(hub, "fetch", fetch)
    given = {"model": "o/gated,o/a,o/b,llama-3.1-8b", "results": str(tmp_path)}
    gated, a, b, llama = plan_models(Settings.from_mapping(given), may_fetch=True)
    assert asked == ["o/gated", "o/a"]
    assert (gated.failure or "").startswith("o/gated: no; then run")
    assert (a.failure or "").startswith("o/a: no; then run")
    assert f"is not in {tmp_path}/cache/models yet" in (b.failure or "")
    assert llama.failure is None
