"""The plan as the rules ask for it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from kerneldefs import plan
from kerneldefs.digests import PROJECT
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.config import ServingConfig

LLAMA = {"model": "llama-3.1-8b", "hardware": "H200"}


@pytest.fixture(scope="module")
def run() -> plan.Run:
    return plan.load(LLAMA, may_fetch=False)


def test_paths_of_configs_and_models(run: plan.Run) -> None:
    ids = [config.id for config in run.plans["llama-3.1-8b"].configs]
    assert len(ids) == 2
    assert run.per_config("dumps") == [f"results/llama-3.1-8b/dumps/{one}" for one in ids]
    assert run.per_config("configs/{cfg}.json", ["llama-3.1-8b"])[0].endswith(f"/{ids[0]}.json")
    assert run.per_model("a", "b") == ["results/llama-3.1-8b/a", "results/llama-3.1-8b/b"]


def test_config_text_is_the_config(run: plan.Run) -> None:
    config = run.plans["llama-3.1-8b"].configs[0]
    text = run.config_text("llama-3.1-8b", config.id)
    assert ServingConfig.from_json(json.loads(text)) == config
    assert text == plan.load(LLAMA, may_fetch=False).config_text("llama-3.1-8b", config.id)


def test_simulated_captures_ask_for_no_gpu(run: plan.Run) -> None:
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
    project = PROJECT
    files = [project / "Snakefile", *sorted((project / "rules").glob("*.smk"))]
    rules = re.findall(r"^rule (\w+):", "".join(path.read_text() for path in files), re.MULTILINE)
    common = (project / "rules/common.smk").read_text()
    local = re.findall(r"^    (\w+),$", common.partition("\nlocalrules:\n")[2], re.MULTILINE)
    assert sorted(local) == sorted({*rules} - {"capture", "capture_other"})


def test_reserved_gpus_are_those_of_the_config(run: plan.Run) -> None:
    reserving = plan.load(LLAMA | {"reserve_gpus": True}, may_fetch=False)
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
    other = plan.load(LLAMA | {"python": str(link)}, may_fetch=False)
    assert json.loads(other.versions())["sglang"] == "99.0"
    assert other.python() == str(link)
    same = plan.load(LLAMA | {"python": sys.executable}, may_fetch=False)
    assert same.versions() == plan.load(LLAMA, may_fetch=False).versions()


@pytest.mark.parametrize(
    ("python", "sentence"),
    [("/no/such/python", "is no program"), ("false", "cannot run this project")],
)
def test_unusable_interpreter_is_named(python: str, sentence: str) -> None:
    with pytest.raises(KerneldefsError, match=f"python: {python} {sentence}"):
        plan.load(LLAMA | {"python": python}, may_fetch=False)


def test_model_config_is_relative_where_it_can_be(
    run: plan.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(PROJECT)
    assert run.model_config("llama-3.1-8b") == "config/models/llama-3.1-8b"
    monkeypatch.chdir(tmp_path)
    assert Path(run.model_config("llama-3.1-8b")).is_absolute()


def test_stage_options_say_what_differs_from_the_default(run: plan.Run) -> None:
    assert run.stage_options() == ["--execute", "--cache", "results/cache/references"]
    settings = {"dataset": "some where", "skip_existing": False, "op_types": "gemm,moe"}
    settings |= {"execute": False}
    other = plan.load(LLAMA | settings, may_fetch=False)
    assert other.stage_options() == [
        "--dataset",
        "some where",
        "--no-skip-existing",
        "--op-types",
        "gemm,moe",
    ]


def test_models_without_a_config_are_a_target_that_fails(tmp_path: Path) -> None:
    assert plan.load(LLAMA, may_fetch=False).unplanned() == []
    settings = {"model": "llama-3.1-8b,o/m", "results": str(tmp_path)}
    run = plan.load(settings, may_fetch=False)
    assert run.unplanned() == [f"{tmp_path}/planned"]
    assert run.unplanned_text().startswith("error: 1 of 2 models have no serving config")
    assert run.unplanned_text().endswith(": m")


def test_an_engine_capture_is_submitted_and_asks_for_its_gpus() -> None:
    settings = {"gpu_types": "sm_90=h200-nvl", "load_format": "auto"}
    run = plan.load(LLAMA | settings, may_fetch=False)
    config = run.plans["llama-3.1-8b"].configs[0]
    assert run.submits_captures
    assert run.gpus("llama-3.1-8b", config.id) == config.tp
    assert run.gpu_model("llama-3.1-8b", config.id) == "h200-nvl"
    assert run.capture_options("llama-3.1-8b", config.id) == [
        *("--backend", "engine", "--load-format", "auto", "--why", "gpu_types has sm_90"),
        *("--fetched", "results/llama-3.1-8b/weights.json"),
    ]


@pytest.mark.parametrize(
    ("hardware", "load_format", "fetched"),
    [
        ("H200", "dummy", []),
        ("H200", "auto", ["results/llama-3.1-8b/weights.json"]),
        ("B200", "dummy", ["results/cache/cubins.json"]),
        ("B200", "auto", ["results/llama-3.1-8b/weights.json", "results/cache/cubins.json"]),
    ],
)
def test_what_an_engine_needs_is_fetched_before(
    hardware: str, load_format: str, fetched: list[str]
) -> None:
    settings = {"hardware": hardware, "load_format": load_format}
    run = plan.load(LLAMA | settings | {"backend": "engine"}, may_fetch=False)
    config = run.plans["llama-3.1-8b"].configs[0]
    assert run.fetched("llama-3.1-8b", config.id) == fetched
    assert run.others().fetched("llama-3.1-8b", config.id) == []
    simulated = plan.load(LLAMA | settings | {"backend": "simulate"}, may_fetch=False)
    assert simulated.fetched("llama-3.1-8b", config.id) == []
    assert simulated.others().fetched("llama-3.1-8b", config.id) == fetched


def test_the_other_capture_asks_for_what_its_backend_needs(run: plan.Run) -> None:
    config = run.plans["llama-3.1-8b"].configs[0]
    other = run.others()
    assert (run.gpus("llama-3.1-8b", config.id), other.gpus("llama-3.1-8b", config.id)) == (0, 1)
    assert other.memory("llama-3.1-8b", config.id) > run.memory("llama-3.1-8b", config.id)
    assert other.capture_options("llama-3.1-8b", config.id)[:2] == ["--backend", "engine"]
    assert other.others() == run


def test_what_no_node_can_serve_is_not_compared_and_said() -> None:
    run = plan.load(LLAMA | {"tp_list": "8,16"}, may_fetch=False)
    small = {c.id for c in run.plans["llama-3.1-8b"].configs if c.tp == 8}
    assert {Path(path).stem for path in run.comparable()} == small
    assert run.incomparable().startswith("not compared, as they need several nodes: ")
    assert "tp16" in run.incomparable() and "tp8" not in run.incomparable()
