"""A finished run's pages, and its definitions in a clone of the dataset that has some of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import KIMI, Project

# The dataset's names for two kernels that are staged under FlashInfer's.
TOP_K, TOP_P = "top_k_sampling_from_probs_v163840", "top_p_sampling_from_probs_v163840"


def write(dataset: Path, definition: dict[str, Any]) -> Path:
    path = dataset / "definitions" / definition["op_type"] / f"{definition['name']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(definition, indent=4) + "\n")
    return path


@pytest.fixture
def dataset(quick: Project, tmp_path: Path) -> Path:
    """Has a few definitions of the run: as they are, under other names, with other tags.

    It also has something else under the name of one.
    """
    staged = quick.staged()
    folder = tmp_path / "trace"
    write(folder, staged["fused_add_rmsnorm_h7168"])
    other_tags = {"tags": ["status:verified", "model:deepseek-v3"]}
    write(folder, {**staged["rmsnorm_h7168"], **other_tags})
    write(folder, {**staged["top_k_sampling_v163840"], "name": TOP_K})
    write(folder, {**staged["top_p_sampling_v163840"], "name": TOP_P, **other_tags})
    other = json.loads(json.dumps(staged["rmsnorm_h512"]))
    next(iter(other["inputs"].values()))["dtype"] = "float32"
    write(folder, other)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    paths = sorted(folder.rglob("*.json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_publishing_adds_unites_and_keeps(quick: Project, dataset: Path) -> None:
    bench = pytest.importorskip("flashinfer_bench")
    before = files(dataset)
    config = f"model=kimi-k2 dataset={dataset}"
    preview = quick.run("publish", "-n", config=config)
    assert "nothing was written (--dry-run)" in preview.output
    assert files(dataset) == before
    result = quick.run("publish", config=config)
    assert "Hand on with" not in result.output
    after = files(dataset)
    assert set(before) < set(after)
    united = {"definitions/rmsnorm/rmsnorm_h7168.json", f"definitions/sampling/{TOP_P}.json"}
    assert {name for name in before if after[name] != before[name]} == united
    for name in united:
        old, new = json.loads(before[name]), json.loads(after[name])
        tags = set(new.pop("tags"))
        assert {"model:deepseek-v3", f"model:{KIMI}", "status:verified"} <= tags
        assert "status:unverified" not in tags
        assert new == {key: value for key, value in old.items() if key != "tags"}
    assert f"unchanged {KIMI}: top_k_sampling_v163840, in the dataset as" in result.output
    assert not {"top_k_sampling_v163840", "top_p_sampling_v163840"} & {Path(n).stem for n in after}
    added = len(after) - len(before)
    assert f"{dataset}: {added} added, 2 united, 2 unchanged, 1 conflict" in result.output
    assert f"conflict  {KIMI}: definitions/rmsnorm/rmsnorm_h512.json" in result.output
    shape = 'inputs: hidden_states {"shape": ["batch_size", "hidden_size"]'
    assert f'-{shape}, "dtype": "float32"}}' in result.output
    assert f'+{shape}, "dtype": "bfloat16"}}' in result.output
    handoff = quick.path("handoff")
    assert (handoff / "README.md").read_text().count("| feat/def-") == added + 1
    assert "rmsnorm_h512" in (handoff / "conflicts.md").read_text()
    again = quick.run("publish", config=config)
    assert "0 added, 0 united" in again.output
    assert files(dataset) == after
    loaded = bench.TraceSet.from_path(str(dataset)).definitions
    assert set(loaded) == {Path(name).stem for name in after}
    assert set(loaded[TOP_P].tags) > {"model:deepseek-v3", f"model:{KIMI}"}


def test_publish_needs_a_dataset_that_is_one(quick: Project, tmp_path: Path) -> None:
    assert "publish: no dataset is set" in quick.run("publish", ok=False).output
    (tmp_path / "flashinfer_bench").mkdir()
    removed = tmp_path / "flashinfer_trace"
    (removed / "definitions").mkdir(parents=True)
    output = quick.run("publish", config=f"model=kimi-k2 dataset={removed}", ok=False).output
    assert "has removed its flashinfer_trace folder" in output
    assert "Traceback" not in output


def test_pages_are_written_and_summed_up(quick: Project) -> None:
    page = quick.path("report.html")
    assert "mla_paged_decode_h8_ckv512_kpe64_ps1" in page.read_text()
    page.unlink()
    result = quick.run()
    assert result.jobs == {"page": 1}
    assert page.exists()
    assert f"Look at results/{KIMI}/report.html" in result.output
    assert "\x1b[" not in result.output


def test_snakemakes_report_holds_the_pages(quick: Project, tmp_path: Path) -> None:
    quick.run("--report", str(tmp_path / "report.zip"))
    names = subprocess.run(
        ["python3", "-m", "zipfile", "-l", str(tmp_path / "report.zip")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert names.count("report.html") >= 1
    assert names.count("report.txt") == 1


def test_a_run_of_several_models_has_an_index(quick: Project) -> None:
    config = "model=kimi-k2,llama-3.1-8b hardware=H200 attention_backends=flashinfer tp_list=8"
    quick.run(config=config)
    index = (quick.folder / "results/index.html").read_text()
    assert f"{KIMI}/report.html" in index and "llama-3.1-8b/report.html" in index
