"""What reruns when something changes, counted in jobs; captures are the expensive ones."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from .conftest import Project

COOKBOOK = "config/cookbook/data/models/generated/v0.5.21/kimi-k2.yaml"
REPORT = {"validate": 1, "check": 1, "page": 1}
PUBLISH = {"stage": 1} | REPORT
NAME = "mla_paged/mla_paged_decode_h8_ckv512_kpe64_ps1.json"


def chain(configs: int, first: str = "expand") -> dict[str, int]:
    """Return the jobs of so many configs, from a stage onward."""
    stages = ["expand", "capture", "normalise", "derive"]
    return dict.fromkeys(stages[stages.index(first) :], configs) | PUBLISH


def done(project: Project, **options: str) -> dict[str, int]:
    """Run, and once more to see that nothing is left; return the first run's jobs."""
    jobs = project.run(**options).jobs
    assert "Nothing to be done" in project.run(**options).output
    return jobs


def test_nothing_changed(quick: Project) -> None:
    assert "Nothing to be done" in quick.run().output


def test_edited_entry_reruns_only_its_configs(quick: Project) -> None:
    """The entry is captured with two attention backends, so it makes two configs."""
    text = (quick.folder / COOKBOOK).read_text()
    head, hardware, tail = text.partition("B200:")
    edited = tail.replace("name: high-throughput-ep", "name: expert-parallel")
    (quick.folder / COOKBOOK).write_text(head + hardware + edited)
    untouched = quick.path("dumps/h200-tp8-ep4-fp8-auto/capture.json").stat().st_mtime_ns
    assert done(quick) == chain(2)
    assert quick.path("dumps/h200-tp8-ep4-fp8-auto/capture.json").stat().st_mtime_ns == untouched
    assert "expert-parallel" in quick.path("configs/b200-tp8-ep4-fp8-auto.json").read_text()


def test_comment_and_key_order_rerun_nothing(quick: Project) -> None:
    indent = " " * 12
    quick.edit(COOKBOOK, f"{indent}tp: 8\n{indent}dp: 4\n", f"{indent}dp: 4\n{indent}tp: 8\n")
    quick.edit(COOKBOOK, "vendor: moonshotai", "vendor: moonshotai # a comment")
    assert "Nothing to be done" in quick.run().output


def test_removed_config_leaves_the_staged_tree(quick: Project) -> None:
    config = "model=kimi-k2 hardware=H200"
    assert done(quick, config=config) == {"dropped": 1} | PUBLISH
    only_on_b200 = "trtllm_batch_decode_mla_dense_h8_d_qk576_ckv512_kpe64_nope128_ps64"
    assert only_on_b200 not in quick.staged()
    assert "mla_paged_decode_h8_ckv512_kpe64_ps1" in quick.staged()


def test_damaged_staged_file_is_made_again_without_a_capture(quick: Project) -> None:
    path = quick.path("definitions") / NAME
    before = path.read_bytes()
    for damage in ("deleted", "edited", "edited"):  # the same damage twice is repaired twice
        if damage == "deleted":
            path.unlink()
        else:
            path.write_text("{}")
        assert quick.run().jobs == PUBLISH
        assert path.read_bytes() == before
    assert "Nothing to be done" in quick.run().output


def test_deleted_dump_reruns_that_capture(quick: Project) -> None:
    shutil.rmtree(quick.path("dumps/h200-tp8-fp8-auto"))
    assert done(quick) == chain(1, "capture")


def test_deleted_candidates_are_made_again(quick: Project) -> None:
    shutil.rmtree(quick.path("candidates/h200-tp8-fp8-auto"))
    assert done(quick) == {"normalise": 1} | PUBLISH


def test_deleted_derived_definitions_are_made_again(quick: Project) -> None:
    shutil.rmtree(quick.path("derived/h200-tp8-fp8-auto"))
    assert done(quick) == {"derive": 1} | PUBLISH


@pytest.mark.parametrize(
    ("file", "jobs"),
    [
        ("scripts/kerneldefs/capture/probe.py", chain(12, "capture")),
        ("scripts/kerneldefs/definition/naming.py", chain(12, "normalise")),
        ("scripts/kerneldefs/derive/families/moe.py", chain(12, "derive")),
        ("scripts/kerneldefs/dataset/tree.py", PUBLISH),
        ("scripts/validate.py", REPORT),
    ],
)
def test_edited_code_reruns_what_it_shapes(quick: Project, file: str, jobs: dict[str, int]) -> None:
    with (quick.folder / file).open("a") as stream:
        stream.write("\n# a change\n")
    assert quick.run("-n").jobs == jobs


@pytest.mark.parametrize("package", ["flashinfer_python", "sglang", "torch"])
def test_upgraded_package_reruns_the_captures(
    quick: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    info = tmp_path / "newer" / f"{package}-99.0.dist-info"
    info.mkdir(parents=True)
    name = package.replace("_", "-")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.0\n")
    monkeypatch.setenv("PYTHONPATH", str(info.parent))
    assert quick.run("-n").jobs == chain(12, "capture") | {"templates": 1}


def test_another_path_to_the_same_releases_reruns_nothing(quick: Project, tmp_path: Path) -> None:
    python = tmp_path / "another python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    quick.edit("config/config.yaml", "\npython:", f"\npython: {python}")
    assert "Nothing to be done" in quick.run().output


def test_left_over_configs_are_reported_and_pruned_on_request(quick: Project) -> None:
    config = "model=kimi-k2 hardware=H200"
    quick.run(config=config)
    gone = [path.name for path in quick.path("dumps").iterdir() if path.name.startswith("b200")]
    assert quick.report()["left_over"] == sorted(gone)
    assert len(gone) == 6
    quick.run("prune", config=config)
    assert not [p for p in quick.path("").rglob("b200*") if "definitions" not in p.parts]
    assert done(quick, config=config) == REPORT
    assert quick.report()["left_over"] == []
    assert quick.run("-n").jobs["capture"] == 6


def test_changed_dataset_restages(quick: Project, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    copy = dataset / "definitions" / NAME
    copy.parent.mkdir(parents=True)
    config = f"model=kimi-k2 dataset={dataset}"
    assert done(quick, config=config) == PUBLISH
    shutil.copy(quick.path("definitions") / NAME, copy)
    assert done(quick, config=config) == PUBLISH
    assert Path(NAME).stem not in quick.staged()
    assert Path(NAME).stem in {item["name"] for item in quick.report()["existing"]}
