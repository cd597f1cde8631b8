import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.serving import arguments
from kerneldefs.serving.arguments import Arguments, read_arguments


def read(text: str, *, trust: bool = False, **environment: str) -> Arguments:
    return read_arguments(text.split(), environment, trust_remote_code=trust)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("--kv-cache-dtype fp8_e4m3", {"kv_cache_dtype": "fp8_e4m3"}),
        ("--kv-cache-dtype=fp8_e4m3", {"kv_cache_dtype": "fp8_e4m3"}),
        ("--kv_cache_dtype fp8_e4m3", {"kv_cache_dtype": "fp8_e4m3"}),
        (
            "--fp4-gemm-backend flashinfer_cutlass",
            {"fp4_gemm_runner_backend": "flashinfer_cutlass"},
        ),
        ("--fp8-gemm-backend cutlass", {"fp8_gemm_runner_backend": "cutlass"}),
        ("--moe-runner-backend triton", {"moe_runner_backend": "triton"}),
        ("--linear-attn-backend flashinfer", {"linear_attn_backend": "flashinfer"}),
        ("--page-size 64", {"page_size": 64}),
        ("--tp 4 --expert-parallel-size=2", {"tp_size": 4, "ep_size": 2}),
        ("--disable-shared-experts-fusion", {"disable_shared_experts_fusion": True}),
        ("--enable-dp-lm-head --dtype bfloat16", {"enable_dp_lm_head": True, "dtype": "bfloat16"}),
        ("--dtype half --dtype bfloat16", {"dtype": "bfloat16"}),
    ],
)
def test_settings_that_change_the_calls_are_kept(text: str, settings: dict[str, object]) -> None:
    assert read(text) == Arguments(settings, ())


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("--mem-fraction-static 0.8", "memory and batching ignored: --mem-fraction-static 0.8"),
        ("--tool-call-parser=x", "loading and serving ignored: --tool-call-parser x"),
        ("--cuda-graph-max-bs 2", "scheduling and caching ignored: --cuda-graph-max-bs 2"),
        ("--enable-multimodal", "images, audio and video ignored: --enable-multimodal"),
        (
            "--speculative-algo EAGLE --speculative-num-steps 3",
            "speculative decoding ignored: --speculative-algo EAGLE --speculative-num-steps 3",
        ),
        ("--frobnicate 7", "argument --frobnicate 7 left out: not known to this workflow"),
        ("stray", "argument stray left out: not known to this workflow"),
        ("--page-size many", "argument --page-size many left out: needs a positive whole number"),
        ("--page-size", "argument --page-size left out: needs a positive whole number"),
        ("--tp -1", "argument --tp -1 left out: needs a positive whole number"),
        ("--dtype $(reboot)", "argument --dtype $(reboot) left out: needs one plain word"),
        ("--enable-dp-lm-head=no", "argument --enable-dp-lm-head no left out: takes no value"),
        (
            "--trust-remote-code",
            "--trust-remote-code left out, since trust_remote_code is not set",
        ),
    ],
)
def test_everything_else_is_noted(text: str, note: str) -> None:
    assert read(text) == Arguments({}, (note,))


def test_a_switch_takes_no_word() -> None:
    found = read("--trust-remote-code --enable-dp-lm-head stray", trust=True)
    assert found.settings == {"enable_dp_lm_head": True}
    assert found.notes == ("argument stray left out: not known to this workflow",)


def test_remote_code_is_not_noted_when_it_is_trusted() -> None:
    assert read("--trust-remote-code", trust=True).notes == ()


def test_environment_is_never_passed_on() -> None:
    found = read("", SGLANG_ENABLE_SPEC_V2="1", LD_PRELOAD="x.so")
    assert found.settings == {}
    assert found.notes == (
        "environment variable LD_PRELOAD left out: none is passed on",
        "speculative decoding ignored: SGLANG_ENABLE_SPEC_V2=1",
    )


FLAGS = [*arguments._WORDS, *arguments._NUMBERS, *arguments._SWITCHES, *arguments._ABOUT]
FIELDS = {*arguments._WORDS.values(), *arguments._NUMBERS.values(), *arguments._SWITCHES.values()}


@given(st.lists(st.sampled_from(FLAGS) | st.text(max_size=8), max_size=8))
def test_no_word_is_lost_and_no_value_is_odd(words: list[str]) -> None:
    found = read_arguments(words, {}, trust_remote_code=False)
    assert set(found.settings) <= FIELDS
    for value in found.settings.values():
        assert isinstance(value, int) or re.fullmatch(r"[A-Za-z0-9_.-]+", value)
    told = " ".join(found.notes)
    for word in words:
        name = word.partition("=")[0].replace("_", "-")
        kept = {**arguments._WORDS, **arguments._NUMBERS, **arguments._SWITCHES}.get(name)
        value = str(word) in map(str, found.settings.values())
        assert kept in found.settings or name in told or word in told or value


def test_no_flag_stands_in_two_tables() -> None:
    assert len(FLAGS) == len(set(FLAGS))
