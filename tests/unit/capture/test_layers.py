"""Cutting a config.json to its leading layers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.capture.layers import keep_leading, layer_count
from kerneldefs.errors import KerneldefsError


def test_cuts_the_language_part_of_a_multimodal_config_and_leaves_the_vision_part():
    config = {
        "text_config": {"num_hidden_layers": 8, "layer_types": ["a"] * 8},
        "vision_config": {"num_hidden_layers": 8, "depths": [1] * 8},
    }
    cut = keep_leading(config, 1)
    assert cut["text_config"] == {"num_hidden_layers": 1, "layer_types": ["a"]}
    assert cut["vision_config"] == {"num_hidden_layers": 8, "depths": [1] * 8}
    assert config["text_config"]["num_hidden_layers"] == 8  # the caller's copy is untouched


def test_cuts_nested_lists_and_patterns_but_no_list_of_another_length():
    config = {
        "num_hidden_layers": 4,
        "sparse": {"freq": [0, 1, 1, 1]},
        "hybrid_override_pattern": "M-M*",
        "eos_token_id": [1, 2, 3],
        "name": "M-M*",
    }
    assert keep_leading(config, 2) == {
        "num_hidden_layers": 2,
        "sparse": {"freq": [0, 1]},
        "hybrid_override_pattern": "M-",
        "eos_token_id": [1, 2, 3],
        "name": "M-M*",
    }


def test_a_list_of_kinds_may_stand_for_the_number_of_layers():
    config = {"layers_block_type": ["mamba", "moe", "mamba", "attention"]}
    assert layer_count(config) == 4
    assert keep_leading(config, 2) == {"layers_block_type": ["mamba", "moe"]}


@pytest.mark.parametrize("count", [None, 0, "61"])
def test_a_config_without_layers_is_an_error(count):
    with pytest.raises(KerneldefsError, match="num_hidden_layers"):
        layer_count({"num_hidden_layers": count})


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.data())
def test_the_leading_entries_stay(kinds, data):
    kept = data.draw(st.integers(1, len(kinds)))
    cut = keep_leading({"num_hidden_layers": len(kinds), "layer_types": kinds}, kept)
    assert cut == {"num_hidden_layers": kept, "layer_types": kinds[:kept]}
