"""Publishing into a dataset: what is added, united and left, and what is never touched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dataset.make import norm, sampling, tree, write_definition
from kerneldefs.errors import KerneldefsError
from kerneldefs.publish.handoff import GROUPS, write_handoff
from kerneldefs.publish.plan import destination, plan, write

from .make import results

SCRIPTS = Path(__file__).parents[3] / "scripts"


def kinds(folders: list[Path], dataset: Path) -> dict[str, str]:
    return {step.name: step.kind for step in plan(folders, dataset)}


def published(folders: list[Path], dataset: Path) -> dict[str, bytes]:
    write(plan(folders, dataset), dataset)
    return tree(dataset)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset that has one kernel under another name, and something else under a third."""
    folder = tmp_path / "trace"
    definitions = folder / "definitions"
    write_definition(definitions, {**norm(32, "model:other", eps=1e-5), "name": "rmsnorm_h32"})
    write_definition(definitions, norm(16, dtype="float16"))
    return folder


@pytest.mark.parametrize("compared", [True, False], ids=["staged against it", "not compared yet"])
def test_added_united_and_in_conflict(tmp_path: Path, dataset: Path, compared: bool) -> None:
    before = tree(dataset)
    mine = [norm(64, "model:m"), norm(32, "model:m", eps=1e-5), norm(16, "model:m"), sampling()]
    folder = results(tmp_path / "r", *mine, dataset=dataset if compared else None)
    assert kinds([folder], dataset) == {
        "rmsnorm_h64": "added",
        "rmsnorm_h32_eps1e-5": "united",
        "rmsnorm_h16": "conflict",
        "top_k_top_p_sampling_v100": "added",
    }
    assert tree(dataset) == before
    after = published([folder], dataset)
    assert set(after) - set(before) == {
        "definitions/rmsnorm/rmsnorm_h64.json",
        "definitions/sampling/top_k_top_p_sampling_v100.json",
    }
    assert (
        after["definitions/rmsnorm/rmsnorm_h16.json"]
        == before["definitions/rmsnorm/rmsnorm_h16.json"]
    )
    old, new = (json.loads(t["definitions/rmsnorm/rmsnorm_h32.json"]) for t in (before, after))
    assert new.pop("tags") == ["model:m", "model:other", "status:unverified"]
    assert new == {key: value for key, value in old.items() if key != "tags"}
    conflict = next(s for s in plan([folder], dataset) if s.kind == "conflict")
    changed = [line for line in conflict.diff.splitlines()[2:] if line[0] in "-+"]
    assert [line[0] for line in changed] == ["-", "-", "+", "+"]  # an input, an output, no tag
    for line in changed:
        assert ('"dtype": "float16"' if line[0] == "-" else '"dtype": "bfloat16"') in line


@pytest.mark.parametrize("text", ["[]", "{", '{"name": "rmsnorm_h64"}', '{"axes": null}'])
def test_a_file_that_is_no_definition_is_a_conflict_too(tmp_path: Path, text: str) -> None:
    folder = results(tmp_path / "r", norm(64))
    path = tmp_path / "trace/definitions/rmsnorm/rmsnorm_h64.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (step,) = [step for step in plan([folder], tmp_path / "trace") if step.name == "rmsnorm_h64"]
    assert step.kind == "conflict"
    assert '+inputs: x {"shape"' in step.diff or '+      "shape": [' in step.diff
    assert path.read_text() == text


def test_a_second_time_does_nothing(tmp_path: Path, dataset: Path) -> None:
    folder = results(tmp_path / "r", norm(64), norm(32, eps=1e-5))
    first = published([folder], dataset)
    assert set(kinds([folder], dataset).values()) == {"unchanged"}
    assert published([folder], dataset) == first


def test_the_order_of_models_does_not_matter(tmp_path: Path) -> None:
    one = results(tmp_path / "r", norm(64, "model:one"), norm(32), model="one")
    two = results(tmp_path / "r", norm(64, "model:two"), norm(16), model="two")
    trees = []
    for order in ([one, two], [two, one]):
        for together in (True, False):
            folder = tmp_path / f"{len(trees)}"
            (folder / "definitions").mkdir(parents=True)
            for group in [order] if together else [[model] for model in order]:
                published(group, folder)
            trees.append(tree(folder))
    assert trees[0] == trees[1] == trees[2] == trees[3]
    tags = json.loads(trees[0]["definitions/rmsnorm/rmsnorm_h64.json"])["tags"]
    assert tags == ["model:one", "model:two", "status:unverified"]


def test_nothing_with_an_error_is_published(tmp_path: Path, dataset: Path) -> None:
    folder = results(tmp_path / "r", norm())
    report = json.loads((folder / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps({**report, "ok": False, "errors": [{}]}))
    with pytest.raises(KerneldefsError, match="1 errors, so nothing of it is published"):
        plan([folder], dataset)


def test_an_edited_file_is_not_published(tmp_path: Path, dataset: Path) -> None:
    folder = results(tmp_path / "r", norm())
    path = folder / "definitions/rmsnorm/rmsnorm_h64.json"
    path.write_text(path.read_text().replace("EPS", "EPSILON"))
    with pytest.raises(KerneldefsError, match="is not the file that was staged"):
        plan([folder], dataset)


def test_a_file_that_the_dataset_has_lost_is_noticed(tmp_path: Path, dataset: Path) -> None:
    folder = results(tmp_path / "r", norm(32, eps=1e-5), dataset=dataset)
    (dataset / "definitions/rmsnorm/rmsnorm_h32.json").unlink()
    with pytest.raises(KerneldefsError, match="run the workflow with this dataset again"):
        plan([folder], dataset)


def test_the_removed_folder_of_flashinfer_bench_is_refused(tmp_path: Path) -> None:
    (tmp_path / "flashinfer_bench").mkdir()
    removed = tmp_path / "flashinfer_trace"
    (removed / "definitions").mkdir(parents=True)
    with pytest.raises(KerneldefsError, match="has removed its flashinfer_trace folder"):
        destination(removed)
    (tmp_path / "flashinfer_bench").rmdir()
    assert destination(removed) == removed


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KerneldefsError, match="no definitions folder"):
        destination(tmp_path)


def test_the_command_says_what_it_would_do(tmp_path: Path, dataset: Path) -> None:
    folder = results(tmp_path / "r", norm(64), norm(16))
    before = tree(dataset)
    words: list[Any] = [SCRIPTS / "publish.py", folder, "--dataset", dataset]
    done = subprocess.run(
        [sys.executable, *map(str, words), "--dry-run"], capture_output=True, text=True, check=True
    )
    assert "added     m: definitions/rmsnorm/rmsnorm_h64.json" in done.stdout
    assert "1 added, 0 united, 0 unchanged, 1 conflict; nothing was written" in done.stdout
    assert tree(dataset) == before and not (folder / "handoff").exists()
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, check=True
    )
    assert "1 pull request" in done.stdout
    assert (folder / "handoff/rmsnorm_h64/dataset/definitions/rmsnorm/rmsnorm_h64.json").is_file()


def test_handoff_says_what_maintainers_ask(tmp_path: Path, dataset: Path) -> None:
    folder = results(
        tmp_path / "r", norm(64), norm(32, "model:m", eps=1e-5), norm(16), sampling(),
        dataset=dataset,
    )  # fmt: skip
    workload = dataset / "workloads/rmsnorm/rmsnorm_h32.jsonl"
    workload.parent.mkdir(parents=True)
    workload.write_text("")
    steps = plan([folder], dataset)
    write(steps, dataset)
    requests = write_handoff(steps, folder, dataset)
    assert [one.branch for one in requests] == [
        "feat/def-rmsnorm_h64",
        "feat/def-top_k_top_p_sampling_v100",
        "feat/def-m-tags",
    ]
    handoff = folder / "handoff"
    body = (handoff / "rmsnorm_h64/dataset/pull_request.md").read_text()
    for fact in (
        "somebody/M-1B",
        "sglang 0.5.21",
        "flashinfer-python 0.6.18",
        "h200-tp8",
        "passed",
    ):
        assert fact in body
    row = "| `rmsnorm_h64` | rmsnorm | 🟡 |"
    assert row in (handoff / "rmsnorm_h64/flashinfer-bench/pull_request.md").read_text()
    coverage = (handoff / "flashinfer-bench/model_coverage.mdx").read_text()
    assert row in coverage
    assert "| `rmsnorm_h32` | rmsnorm | ✅ |" in coverage  # the dataset's name, with a workload
    assert "| allreduce_h7 | norm | — |" in coverage
    assert "**Coverage**: 4 / 5 definitions present." in coverage
    modules = (handoff / "flashinfer-bench/models.ts").read_text()
    assert '      norm: {\n        count: 1,\n        parent: "model",\n' in modules
    assert '          "rmsnorm_h32",\n' in modules
    assert "float16" in (handoff / "conflicts.md").read_text()
    assert (
        "definitions/rmsnorm/rmsnorm_h32.json"
        in (handoff / "m-tags/dataset/pull_request.md").read_text()
    )


@pytest.mark.parametrize(("group", "count"), list(zip(GROUPS, (3, 2, 1), strict=True)))
def test_pull_requests_are_grouped_on_request(
    tmp_path: Path, dataset: Path, group: str, count: int
) -> None:
    folder = results(tmp_path / "r", norm(64), norm(48), sampling())
    steps = plan([folder], dataset)
    assert len(write_handoff(steps, folder, dataset, group)) == count


def test_a_handoff_stays_until_there_is_another(tmp_path: Path, dataset: Path) -> None:
    folder = results(tmp_path / "r", norm(64))
    steps = plan([folder], dataset)
    write(steps, dataset)
    write_handoff(steps, folder, dataset)
    readme = (folder / "handoff/README.md").read_bytes()
    assert write_handoff(plan([folder], dataset), folder, dataset) == []
    assert (folder / "handoff/README.md").read_bytes() == readme


def test_flashinfer_bench_loads_what_was_published(tmp_path: Path, dataset: Path) -> None:
    bench = pytest.importorskip("flashinfer_bench")
    published([results(tmp_path / "r", norm(64), sampling())], dataset)
    trace = bench.TraceSet.from_path(str(dataset))
    assert {"rmsnorm_h64", "rmsnorm_h32", "top_k_top_p_sampling_v100"} <= set(trace.definitions)
