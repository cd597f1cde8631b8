"""Cutting a model to its distinct layers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.capture.layers import Cut, cut_layers
from kerneldefs.errors import KerneldefsError


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ({}, 1),
        ({"first_k_dense_replace": 3}, 4),
        ({"full_attention_interval": 4}, 4),
        ({"decoder_sparse_step": 2}, 2),
        ({"layer_types": ["full", "full", "sliding", *["full"] * 9]}, 3),
        ({"hybrid_override_pattern": "M-M*M-M*M-M*"}, 4),
        ({"moe_layer_freq": [0, 1, *[1] * 10]}, 2),
    ],
)
def test_keeps_the_leading_layers_that_hold_every_kind(config, kept):
    cut, made = cut_layers({"num_hidden_layers": 12, **config})
    assert made == Cut(kept, 12)
    assert cut["num_hidden_layers"] == kept


def test_cuts_the_language_part_of_a_multimodal_config_and_leaves_the_vision_part():
    config = {
        "text_config": {"num_hidden_layers": 8, "layer_types": ["a"] * 8},
        "vision_config": {"num_hidden_layers": 8},
    }
    cut, _ = cut_layers(config)
    assert cut["text_config"] == {"num_hidden_layers": 1, "layer_types": ["a"]}
    assert cut["vision_config"] == {"num_hidden_layers": 8}
    assert config["text_config"]["num_hidden_layers"] == 8  # the caller's copy is untouched


def test_a_list_of_kinds_may_stand_for_the_number_of_layers():
    cut, made = cut_layers({"layers_block_type": ["mamba", "moe", "mamba", "attention"]})
    assert (made, len(cut["layers_block_type"])) == (Cut(4, 4), 4)
    assert "num_hidden_layers" not in cut


@pytest.mark.parametrize("count", [None, 0, "61"])
def test_a_config_without_layers_is_an_error(count):
    with pytest.raises(KerneldefsError, match="num_hidden_layers"):
        cut_layers({"num_hidden_layers": count})


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20))
def test_every_kind_of_layer_survives_the_cut(kinds):
    cut, _ = cut_layers({"num_hidden_layers": len(kinds), "layer_types": kinds})
    assert set(cut["layer_types"]) == set(kinds)
    assert cut["layer_types"] == kinds[: cut["num_hidden_layers"]]
