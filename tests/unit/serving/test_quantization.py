from typing import Any

import pytest
from kerneldefs.serving.quantization import quantization_of


def of(data: dict[str, Any], quant: dict[str, Any] | None = None) -> str:
    return quantization_of([data], data, quant)


def groups(**weights: Any) -> dict[str, Any]:
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": weights}},
    }


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "gptq_marlin"}, "gptq"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "modelopt_fp4", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_algo": "FP8", "config_groups": {}}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, "modelopt_mixed"),
        ({"quant_method": "modelopt"}, "none"),
        (groups(num_bits=4, type="int"), "int4"),
        (groups(num_bits=8, type="float"), "fp8"),
        (groups(num_bits=4, type="int") | {"format": "pack-quantized"}, "int4"),
        (groups(num_bits=4, type="float") | {"format": "nvfp4-pack-quantized"}, "nvfp4"),
        (groups(num_bits=4, type="float") | {"format": "mxfp4-pack-quantized"}, "mxfp4"),
        ({"quant_method": "compressed-tensors", "config_groups": []}, "compressed-tensors"),
        ({"quant_method": "W4 / new!"}, "w4-new"),
        ({}, "none"),
    ],
)
def test_quantization_config(config: dict[str, Any], name: str) -> None:
    assert of({"quantization_config": config}) == name
    if config:
        assert of({"compression_config": config}) == name


@pytest.mark.parametrize(
    ("quant", "name"),
    [
        ({"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}}, "nvfp4"),
        ({"quant_algo": "FP8"}, "fp8"),
        ({"quantization": None}, "none"),
    ],
)
def test_hf_quant_config_counts_where_config_says_nothing(quant: dict[str, Any], name: str) -> None:
    assert of({}, quant) == name
    assert of({"quantization_config": {"quant_method": "awq"}}, quant) == "awq"


def test_no_word_of_it_means_none() -> None:
    assert of({"quantization_config": None}) == "none"
