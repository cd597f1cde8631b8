import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.expand import ModelPlan

from .make import entry, ids, plans


def test_kimi_k2_of_the_embedded_cookbook() -> None:
    (kimi,) = plans(model="kimi-k2")
    assert (kimi.slug, kimi.repo_id) == ("kimi-k2-instruct", "moonshotai/Kimi-K2-Instruct")
    assert kimi.revision == "bundled"
    assert ids(kimi) == [
        f"{hardware}-{sizes}-fp8-{backend}"
        for hardware in ("b200", "h200")
        for sizes in ("tp8-dp4", "tp8-ep4", "tp8")
        for backend in ("auto", "flashinfer")
    ]
    assert kimi.dropped == ()
    by_id = {config.id: config for config in kimi.configs}
    one = by_id["b200-tp8-dp4-fp8-flashinfer"]
    assert (one.arch, one.tp, one.dp, one.ep) == ("sm_100", 8, 4, 1)
    assert one.enable_dp_attention is True
    assert (one.quantization, one.attention_backend) == ("fp8", "flashinfer")
    assert by_id["h200-tp8-ep4-fp8-auto"].attention_backend is None
    assert [source.entry for source in one.sources] == ["high-throughput-dp"]
    assert (kimi.model_config / "config.json").is_file()


def test_configs_are_what_the_next_stage_reads() -> None:
    for config in plans(model="all")[0].configs:
        assert ServingConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_model_without_an_entry_gets_tp_1_on_two_architectures() -> None:
    (llama,) = plans(model="llama-3.1-8b", attention_backends="flashinfer")
    assert ids(llama) == ["b200-tp1-bf16-flashinfer", "h100-tp1-bf16-flashinfer"]
    assert [config.arch for config in llama.configs] == ["sm_100", "sm_90"]
    assert llama.configs[0].sources[0].cookbook == "none"
    (llama,) = plans(model="llama-3.1-8b", hardware="a100", attention_backends="auto", tp_list=2)
    assert ids(llama) == ["a100-tp2-bf16-auto"]


def test_entries_that_call_the_same_fold_into_one(plan: Callable[..., ModelPlan]) -> None:
    spec = entry("speculative", extra_args=["--speculative-algo", "NEXTN"])
    found = plan(
        {"H200": [entry()], "H100": [entry(), spec], "B200": [entry()]}, attention_backends="auto"
    )
    assert ids(found) == ["b200-tp8-bf16-auto", "h100-tp8-bf16-auto"]
    hopper = found.configs[1]
    assert [(s.hardware, s.entry) for s in hopper.sources] == [
        ("H100", "default"),
        ("H100", "speculative"),
        ("H200", "default"),
    ]
    assert hopper.notes == ("speculative decoding ignored: --speculative-algo NEXTN",)


def test_the_order_of_keys_in_the_file_changes_nothing(plan: Callable[..., ModelPlan]) -> None:
    hardware = {"H200": [entry()], "B200": [entry(tp=4)], "H100": [entry()], "GB200": [entry()]}
    turned = dict(reversed(list(hardware.items())))
    assert plan(hardware).configs == plan(turned).configs


def test_gpus_per_node_and_nodes(plan: Callable[..., ModelPlan]) -> None:
    found = plan({"GB200": [entry(tp=8)]}, attention_backends="auto")
    assert found.configs[0].gpus_per_node == 4
    assert found.configs[0].notes == (
        "tp 8 spans several GB200 nodes of 4 GPUs: only the simulated capture can run it",
    )


def test_lists_replace_the_sizes_of_the_cookbook(plan: Callable[..., ModelPlan]) -> None:
    found = plan({"H200": [entry(ep=8)]}, attention_backends="auto", tp_list="4,8", ep_list="1,4")
    assert ids(found) == [
        "h200-tp4-bf16-auto",
        "h200-tp4-ep4-bf16-auto",
        "h200-tp8-bf16-auto",
        "h200-tp8-ep4-bf16-auto",
    ]
    assert found.dropped == ()


def test_page_sizes_are_variants(plan: Callable[..., ModelPlan]) -> None:
    one = {"H200": [entry(extra_args=["--page-size=32"])]}
    assert ids(plan(one, attention_backends="auto")) == ["h200-tp8-bf16-auto-ps32"]
    found = plan(one, attention_backends="auto", page_sizes=[1, 64])
    assert [config.page_size for config in found.configs] == [1, 64]


def test_auto_is_what_the_entry_names(plan: Callable[..., ModelPlan]) -> None:
    words = ["--attention-backend", "trtllm_mha", "--decode-attention-backend", "fa3"]
    found = plan({"B200": [entry(extra_args=words)]})
    forced, own = found.configs
    assert (own.attention_backend, own.arguments) == (
        "trtllm_mha",
        {"decode_attention_backend": "fa3"},
    )
    assert (forced.attention_backend, forced.arguments) == ("flashinfer", {})
    assert forced.notes == (
        "the cookbook's decode_attention_backend fa3 replaced by flashinfer",
        "the cookbook's attention_backend trtllm_mha replaced by flashinfer",
    )


def test_arguments_make_configs_distinct(plan: Callable[..., ModelPlan]) -> None:
    words = ["--moe-runner-backend=triton", "--kv-cache-dtype", "fp8_e4m3", "--quantization=fp8"]
    words += [
        "--fp8-gemm-backend",
        "cutlass",
        "--disable-shared-experts-fusion",
        "--dtype=bfloat16",
    ]
    found = plan({"H200": [entry(), entry("b", extra_args=words)]}, attention_backends="auto")
    assert ids(found) == [
        "h200-tp8-bf16-auto",
        "h200-tp8-fp8-auto-kv_fp8_e4m3-moe_triton-disable_shared_experts_fusion-"
        "fp8_gemm_runner_backend_cutlass",
    ]
    one = found.configs[1]
    assert (one.kv_cache_dtype, one.moe_runner_backend) == ("fp8_e4m3", "triton")
    assert one.quantization == "none"
    assert one.arguments == {
        "disable_shared_experts_fusion": True,
        "fp8_gemm_runner_backend": "cutlass",
        "quantization": "fp8",
    }


def test_sizes_among_the_arguments_count(plan: Callable[..., ModelPlan]) -> None:
    one = entry(extra_args=["--tp", "4", "--dp-size", "2", "--enable-dp-attention", "--ep=2"])
    found = plan({"H200": [one]}, attention_backends="auto")
    assert ids(found) == ["h200-tp4-dp2-ep2-bf16-auto"]
    assert found.configs[0].arguments == {}


def test_trust_remote_code_is_the_users(plan: Callable[..., ModelPlan]) -> None:
    one = {"H200": [entry(extra_args=["--trust-remote-code"])]}
    (off,) = plan(one, attention_backends="auto").configs
    (on,) = plan(one, attention_backends="auto", trust_remote_code=True).configs
    assert (off.trust_remote_code, on.trust_remote_code) == (False, True)
    assert (len(off.notes), len(on.notes)) == (1, 0)


SIZES = st.sampled_from([None, 1, 2, 3, 4, 8, 16])
ENTRIES = st.lists(
    st.builds(
        entry,
        name=st.sampled_from(["a", "b"]),
        tp=st.sampled_from([1, 2, 4, 8]),
        dp=SIZES,
        ep=SIZES,
        enable_dp_attention=st.booleans(),
        extra_args=st.lists(
            st.sampled_from(["--page-size=64", "--enable-fp32-lm-head", "--kv-cache-dtype=bf16"])
        ),
    ),
    min_size=1,
    max_size=4,
)


@hypothesis_settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["H100", "H200", "B200", "MI300X"]), ENTRIES, min_size=1))
def test_no_entry_is_lost_and_no_two_configs_are_the_same(
    plan: Callable[..., ModelPlan], hardware: dict[str, Any]
) -> None:
    try:
        found = plan(hardware)
    except KerneldefsError as error:
        assert "no serving config is left" in str(error)
        return
    told = {(s.hardware, s.entry) for config in found.configs for s in config.sources}
    told |= {(drop.hardware, drop.entry) for drop in found.dropped}
    assert told == {(key, one["name"]) for key, entries in hardware.items() for one in entries}
    assert len(set(ids(found))) == len(found.configs)
    parts = [
        {k: v for k, v in c.to_json().items() if k not in ("id", "hardware", "sources", "notes")}
        for c in found.configs
    ]
    assert all(one not in parts[:i] for i, one in enumerate(parts))
    for config in found.configs:
        assert config.tp % config.ep == 0 and 64 % config.ep == 0
        assert config.tp % config.dp == 0
        assert config.enable_dp_attention is (config.dp > 1)
