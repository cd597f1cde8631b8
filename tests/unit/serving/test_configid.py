from dataclasses import replace
from pathlib import Path

import pytest
from kerneldefs.serving.configid import MAX_LENGTH, config_ids
from kerneldefs.serving.modelconfig import ModelConfig
from kerneldefs.serving.variants import Variant

CONFIG = ModelConfig(Path("."), "o/m", "local", {"torch_dtype": "float16"}, None)
PLAIN = Variant("sm_90", 8, 1, 1, False, "auto", None, None, None, ())


def name(variant: Variant, hardware: str = "H200") -> str:
    return config_ids({variant: hardware}, CONFIG)[variant]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (PLAIN, "h200-tp8-fp16-auto"),
        (replace(PLAIN, dp=4, enable_dp_attention=True), "h200-tp8-dp4-fp16-auto"),
        (replace(PLAIN, ep=4, attention_backend="flashinfer"), "h200-tp8-ep4-fp16-flashinfer"),
        (replace(PLAIN, arguments=(("dtype", "bfloat16"),)), "h200-tp8-bf16-auto"),
        (replace(PLAIN, arguments=(("quantization", "w8a8_int8"),)), "h200-tp8-w8a8_int8-auto"),
        (replace(PLAIN, page_size=64), "h200-tp8-fp16-auto-ps64"),
        (replace(PLAIN, arguments=(("x", "A B/c"),)), "h200-tp8-fp16-auto-x_a_b_c"),
    ],
)
def test_names_are_readable(variant: Variant, expected: str) -> None:
    assert name(variant) == expected


def test_hardware_with_hyphens_is_one_word() -> None:
    assert name(PLAIN, "RTX-PRO-6000") == "rtx_pro_6000-tp8-fp16-auto"


def test_two_variants_never_share_a_name() -> None:
    one = replace(PLAIN, arguments=(("x", "a.b"),))
    two = replace(PLAIN, arguments=(("x", "A.B"),))
    names = config_ids({one: "H200", two: "H200"}, CONFIG)
    assert names[one] != names[two]
    assert all(n.startswith("h200-tp8-fp16-auto-x_a.b-") for n in names.values())
    assert names == config_ids({two: "H200", one: "H200"}, CONFIG)


def test_a_long_name_is_cut_and_marked() -> None:
    long = replace(PLAIN, arguments=tuple((f"field{i}", "value") for i in range(20)))
    other = replace(long, arguments=(*long.arguments, ("z", 1)))
    names = config_ids({long: "H200", other: "H200"}, CONFIG)
    assert len(set(names.values())) == 2
    assert all(len(n) <= MAX_LENGTH for n in names.values())
