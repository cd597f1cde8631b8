"""The same inputs give the same bytes, in another directory and on another day."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path

import pytest

from .conftest import Project, new_project

# What a run says of itself; everything else of a model's results must be the same twice.
OF_THIS_RUN = ("logs", "benchmarks", "report.html")  # the page shows how long jobs took


def digests(project: Project) -> dict[str, str]:
    """Return the sha256 of every file of the model's results, by path."""
    folder = project.path("")
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.relative_to(folder).parts[0] not in OF_THIS_RUN
        and path.name != ".snakemake_timestamp"
    }


@pytest.mark.slow
def test_another_directory_and_another_day_give_the_same_bytes(
    real: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Captured anew, far away, in another time zone and language, with another order of hashes."""
    folder = tmp_path / "far away/and deeper"
    folder.mkdir(parents=True)
    other = new_project(folder)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    other.run()
    first, second = digests(real), digests(other)
    assert {path for path in first if first[path] != second.get(path)} == set()
    assert first == second
    assert any(path.startswith("dumps/") for path in first)
    with capsys.disabled():
        for where, found in (("here", first), ("there", second)):
            print(f"\\n{tree_digest(found)}  {len(found)} files, {where}", end="")
        print()


def tree_digest(found: dict[str, str]) -> str:
    """sha256 of a `sha256sum`-like listing."""
    listing = "".join(f"{digest}  {path}\\n" for path, digest in found.items())
    return hashlib.sha256(listing.encode()).hexdigest()


def test_manifest_tells_what_was_staged_and_made_from_what(real: Project) -> None:
    manifest = json.loads(real.path("manifest.json").read_text())
    folder = real.path("definitions")
    files = {path.relative_to(folder).as_posix(): path for path in folder.glob("*/*.json")}
    assert set(files) == set(manifest["files"])
    for name, path in files.items():
        content = path.read_bytes()
        expected = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        assert manifest["files"][name] == expected
    assert len(manifest["cookbook"]["sha256"]) == 64
    assert len(manifest["captures"]) == 12
    capture = manifest["captures"]["h200-tp8-fp8-auto"]
    assert (capture["arch"], capture["hardware"], capture["backend"]) == (
        *("sm_90", "H200"),
        "simulate",
    )
    assert (capture["repo_id"], capture["revision"]) == ("moonshotai/Kimi-K2-Instruct", "bundled")
    assert {"sglang", "flashinfer-python", "torch", "python"} <= set(capture["versions"])
    assert capture["arguments"]["tp_size"] == 8
    assert len(capture["model_config_sha256"]) == 64


def test_nothing_names_the_folder_or_the_day(real: Project) -> None:
    """So another of either can change no byte."""
    made = datetime.datetime.fromtimestamp(real.path("manifest.json").stat().st_mtime, datetime.UTC)
    paths = digests(real)
    assert len(paths) > 100
    for path in paths:
        text = real.path(path).read_text()
        assert str(real.folder) not in text, path
        assert f"{made:%Y-%m-%d}" not in text, path
