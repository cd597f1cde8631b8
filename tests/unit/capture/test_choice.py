"""Which backend captures a config, by setting, by what a cluster has, and by what is here."""

from __future__ import annotations

import pytest
from kerneldefs.capture.choice import Choice, choose
from kerneldefs.capture.engine.gpus import Gpu
from kerneldefs.serving.config import ServingConfig

H100 = Gpu("0", "GPU-aa", "NVIDIA H100", "sm_90", 1, 1, ())


def config(tp: int, arch: str = "sm_90") -> ServingConfig:
    return ServingConfig(
        id="x", model="m", repo_id="org/m", revision="r", model_config_sha256="0", arch=arch,
        hardware="H200", gpus_per_node=8, tp=tp, dp=1, ep=1, enable_dp_attention=False,
        quantization="none", kv_cache_dtype="auto", page_size=None, attention_backend=None,
        moe_runner_backend=None, trust_remote_code=False, arguments={}, sources=(), notes=(),
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["auto", "engine", "simulate"])
def test_more_gpus_than_a_node_has_are_simulated(backend: str):
    chosen = choose(config(16), backend, {"sm_90": "h200"}, [H100] * 16)
    assert chosen.backend == "simulate" and "16 is more than the 8 GPUs" in chosen.why


def test_a_setting_is_obeyed():
    assert choose(config(1), "simulate", {"sm_90": "h200"}, [H100]).backend == "simulate"
    assert choose(config(1), "engine", {}, []).backend == "engine"


def test_a_cluster_s_types_decide_and_not_what_is_here():
    types = {"sm_90": "h200"}
    assert choose(config(2), "auto", types, []) == Choice("engine", "gpu_types has sm_90", "h200")
    assert choose(config(1, "sm_100"), "auto", types, [H100]).backend == "simulate"


def test_here_it_takes_enough_gpus_of_the_own_architecture():
    assert choose(config(1), "auto", {}, [H100]).backend == "engine"
    short = choose(config(2), "auto", {}, [H100])
    assert short == Choice("simulate", "1 of 2 GPUs of sm_90 can be used here")
    assert choose(config(1, "sm_100"), "auto", {}, [H100]).backend == "simulate"
