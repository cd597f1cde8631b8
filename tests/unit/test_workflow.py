"""What the Snakefile asks of the library."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from kerneldefs import workflow
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import write_json
from kerneldefs.serving.config import ServingConfig

LLAMA = {"model": "llama-3.1-8b", "hardware": "H200"}


@pytest.fixture(scope="module")
def run() -> workflow.Run:
    return workflow.load(LLAMA, may_fetch=False)


def test_paths_of_configs_and_models(run: workflow.Run) -> None:
    ids = [config.id for config in run.plans["llama-3.1-8b"].configs]
    assert len(ids) == 2
    assert run.per_config("dumps") == [f"results/llama-3.1-8b/dumps/{one}" for one in ids]
    assert run.per_config("configs/{cfg}.json", ["llama-3.1-8b"])[0].endswith(f"/{ids[0]}.json")
    assert run.per_model("a", "b") == ["results/llama-3.1-8b/a", "results/llama-3.1-8b/b"]


def test_config_text_is_the_config(run: workflow.Run) -> None:
    config = run.plans["llama-3.1-8b"].configs[0]
    text = run.config_text("llama-3.1-8b", config.id)
    assert ServingConfig.from_json(json.loads(text)) == config
    assert text == workflow.load(LLAMA, may_fetch=False).config_text("llama-3.1-8b", config.id)


def test_simulated_captures_ask_for_no_gpu(run: workflow.Run) -> None:
    config = run.plans["llama-3.1-8b"].configs[0]
    assert run.choice("llama-3.1-8b", config.id).backend == "simulate"
    assert run.capture_options("llama-3.1-8b", config.id) == ["--backend", "simulate"]
    reasons = run.reasons(SimpleNamespace(model="llama-3.1-8b", cfg=""))
    assert [word.partition("=")[0] for word in reasons] == [
        one.id for one in run.plans["llama-3.1-8b"].configs
    ]
    assert reasons[0].endswith(run.choice("llama-3.1-8b", config.id).why)
    assert run.gpus("llama-3.1-8b", config.id) == 0


def test_only_captures_are_submitted_to_a_cluster() -> None:
    project = workflow.SCRIPTS.parent
    files = [project / "Snakefile", *sorted((project / "rules").glob("*.smk"))]
    rules = re.findall(r"^rule (\w+):", "".join(path.read_text() for path in files), re.MULTILINE)
    common = (project / "rules/common.smk").read_text()
    local = re.findall(r"^    (\w+),$", common.partition("\nlocalrules:\n")[2], re.MULTILINE)
    assert sorted(local) == sorted({*rules} - {"capture", "compare"})


def test_reserved_gpus_are_those_of_the_config(run: workflow.Run) -> None:
    reserving = workflow.load(LLAMA | {"reserve_gpus": True}, may_fetch=False)
    config = reserving.plans["llama-3.1-8b"].configs[0]
    asked = (reserving.gpus("llama-3.1-8b", config.id), reserving.submits_captures)
    assert asked == (config.tp, True)
    assert reserving.gpu_model("llama-3.1-8b", config.id) == "h200"
    assert run.gpu_model("llama-3.1-8b", config.id) == ""
    assert not run.submits_captures


def test_another_interpreter_is_asked_for_its_releases(tmp_path: Path) -> None:
    link = tmp_path / "python of another"
    link.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}" exec "{sys.executable}" "$@"\n')
    link.chmod(0o755)
    info = tmp_path / "sglang-99.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sglang\nVersion: 99.0\n")
    other = workflow.load(LLAMA | {"python": str(link)}, may_fetch=False)
    assert json.loads(other.versions())["sglang"] == "99.0"
    assert other.python() == str(link)
    same = workflow.load(LLAMA | {"python": sys.executable}, may_fetch=False)
    assert same.versions() == workflow.load(LLAMA, may_fetch=False).versions()


@pytest.mark.parametrize(
    ("python", "sentence"),
    [("/no/such/python", "is no program"), ("false", "cannot run this project")],
)
def test_unusable_interpreter_is_named(python: str, sentence: str) -> None:
    with pytest.raises(KerneldefsError, match=f"python: {python} {sentence}"):
        workflow.load(LLAMA | {"python": python}, may_fetch=False)


def test_model_config_is_relative_where_it_can_be(
    run: workflow.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(workflow.SCRIPTS.parent)
    assert run.model_config("llama-3.1-8b") == "config/models/llama-3.1-8b"
    monkeypatch.chdir(tmp_path)
    assert Path(run.model_config("llama-3.1-8b")).is_absolute()


def test_stage_options_say_what_differs_from_the_default(run: workflow.Run) -> None:
    assert run.stage_options() == ["--execute", "--cache", "results/cache/references"]
    settings = {"dataset": "some where", "skip_existing": False, "op_types": "gemm,moe"}
    settings |= {"execute": False}
    other = workflow.load(LLAMA | settings, may_fetch=False)
    assert other.stage_options() == [
        "--dataset",
        "some where",
        "--no-skip-existing",
        "--op-types",
        "gemm,moe",
    ]


def test_models_without_a_config_are_a_target_that_fails(tmp_path: Path) -> None:
    assert workflow.load(LLAMA, may_fetch=False).unplanned() == []
    settings = {"model": "llama-3.1-8b,o/m", "results": str(tmp_path)}
    run = workflow.load(settings, may_fetch=False)
    assert run.unplanned() == [f"{tmp_path}/planned"]
    assert run.unplanned_text().startswith("error: 1 of 2 models have no serving config")
    assert run.unplanned_text().endswith(": m")


def test_an_engine_capture_is_submitted_and_asks_for_its_gpus() -> None:
    settings = {"gpu_types": "sm_90=h200-nvl", "load_format": "auto"}
    run = workflow.load(LLAMA | settings, may_fetch=False)
    config = run.plans["llama-3.1-8b"].configs[0]
    assert run.submits_captures
    assert run.gpus("llama-3.1-8b", config.id) == config.tp
    assert run.gpu_model("llama-3.1-8b", config.id) == "h200-nvl"
    assert run.capture_options("llama-3.1-8b", config.id) == [
        *("--backend", "engine", "--load-format", "auto", "--why", "gpu_types has sm_90")
    ]


@pytest.mark.parametrize(
    ("words", "dry"),
    [
        (["-n"], True),
        (["-pn", "--cores", "2"], True),
        (["--dry-run"], True),
        (["--dryrun"], True),
        (["--cores", "2", "--config", "model=n"], False),
        (["--notemp", "-p"], False),
        ([], False),
    ],
)
def test_dry_runs_are_recognised(words: list[str], dry: bool) -> None:
    assert workflow.is_dry_run(words) is dry


def test_shell_commands_run_snakemakes_own_python() -> None:
    prefix = workflow.shell_prefix([]).format()  # Snakemake formats it
    done = subprocess.run(
        ["bash", "-c", f"{prefix}python -c 'import sys; print(sys.prefix)'"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == sys.prefix
    assert "PATH" not in workflow.shell_prefix(["conda"])
    for methods in ([], ["conda"]):
        command = f"{workflow.shell_prefix(methods).format()}false | true; echo survived"
        assert subprocess.run(["bash", "-c", command], check=False).returncode != 0


def test_shell_prefix_survives_odd_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/odd {folder}/bin/python")
    words = shlex.split(workflow.shell_prefix([]).format())
    assert "PATH=/odd {folder}/bin:$PATH;" in words
    words = shlex.split(workflow.shell_prefix(["conda"], "/odd {x}/python").format())
    assert "CAPTURE_PYTHON=/odd {x}/python;" in words


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name in workflow.CODE["normalise"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.write_text("one")
        else:
            path.mkdir()
    (tmp_path / "scripts/kerneldefs/definition/table.json").write_text("{}")
    return tmp_path


def test_code_digest_changes_with_the_code_only(code: Path) -> None:
    library = code / "scripts/kerneldefs/definition"
    before = workflow.code_digest("normalise", code)
    (code / "scripts/stage.py").write_text("not this stage's")
    (library / "__pycache__").mkdir()
    (library / "__pycache__/table.pyc").write_bytes(b"x")
    assert workflow.code_digest("normalise", code) == before
    (library / "table.json").write_text("{ }")
    assert workflow.code_digest("normalise", code) != before


def test_code_that_does_not_exist_is_a_mistake_of_ours() -> None:
    for stage, names in workflow.CODE.items():
        assert all((workflow.SCRIPTS.parent / name).exists() for name in names)
        assert f"scripts/{stage}.py" in names


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """A model's results with one staged file."""
    path = tmp_path / "definitions/gemm/a.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    sha = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    write_json(tmp_path / "manifest.json", {"files": {"gemm/a.json": {"sha256": sha, "size": 2}}})
    (tmp_path / "staged").write_text("new")
    return tmp_path


def test_staged_state_is_what_was_written_down_while_nothing_changed(staged: Path) -> None:
    (staged / "staged").write_text("a word")
    assert workflow.staged_state(staged) == "a word"
    (staged / "definitions/gemm/own.json").write_text("never staged")
    assert workflow.staged_state(staged) == "a word"


@pytest.mark.parametrize("text", [None, "{ }"])
def test_each_damage_makes_a_word_of_its_own(staged: Path, text: str | None) -> None:
    words = ["new"]
    path = staged / "definitions/gemm/a.json"
    for _ in range(3):
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        words.append(workflow.staged_state(staged))
        path.write_text("{}")  # what the stage job does
        (staged / "staged").write_text(words[-1])
        assert workflow.staged_state(staged) == words[-1]
    assert len(set(words)) == 4


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_without_a_usable_manifest_everything_is_new(staged: Path, content: str | None) -> None:
    (staged / "manifest.json").unlink()
    if content is not None:
        (staged / "manifest.json").write_text(content)
    words = {"new", workflow.staged_state(staged)}  # "new" is what was written down
    (staged / "staged").unlink()
    assert workflow.staged_state(staged) == "new"
    assert len(words) == 2


def test_tree_state_follows_the_dataset(tmp_path: Path) -> None:
    assert workflow.tree_state(None) == ""
    empty = workflow.tree_state(tmp_path)
    (tmp_path / "definitions/gemm").mkdir(parents=True)
    (tmp_path / "definitions/gemm/a.json").write_text("{}")
    one = workflow.tree_state(tmp_path)
    assert len({empty, one, ""}) == 3
    assert workflow.tree_state(tmp_path) == one
