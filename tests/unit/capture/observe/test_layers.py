"""What is read of a layer, whichever release of SGLang it is of."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from kerneldefs.capture.observe import layers


def test_a_merged_layers_parts_are_those_of_this_rank():
    # 0.5.23 gives a layer the sizes on its rank, and no tp_size.
    merged = SimpleNamespace(output_sizes=[1024, 1024], output_partition_sizes=[128, 128])
    assert layers.shards(merged) == "128,128"


def test_a_fused_qkv_layer_splits_by_heads():
    heads = SimpleNamespace(num_heads=8, num_kv_heads=2, head_size=128)
    assert layers.shards(heads) == "1024,256,256"


def test_a_layer_of_one_part_has_none():
    plain = SimpleNamespace(output_sizes=[256], output_partition_sizes=[256])
    assert layers.shards(plain) is None


def test_attention_shows_the_queries_that_choose_blocks_of_the_cache():
    layer = SimpleNamespace(
        tp_q_head_num=8,
        tp_k_head_num=1,
        head_dim=128,
        v_head_dim=128,
        sliding_window_size=-1,
        logit_cap=0.0,
        scaling=128**-0.5,
    )
    q, chosen_by = torch.empty(4, 8, 128), torch.empty(4, 1, 128)
    plain = {"q": q, "k": q[:, :1], "v": q[:, :1], "forward_batch": SimpleNamespace()}
    (every,) = layers.attention(layer, plain, {})
    (some,) = layers.attention(layer, {**plain, "kwargs": {"idx_q": chosen_by}}, {})
    assert set(every.facts()) == {"q", "k", "v"}
    assert some.facts()["idx_q"].shape == (4, 1, 128)


@pytest.mark.parametrize(
    ("gates", "bias", "rule"),
    [(8, 8, "gdn"), (16, 8, "gdn"), (8 * 128, 8 * 128, "kda")],  # the second with b in one tensor
)
def test_the_bias_of_gates_tells_the_rule(gates: int, bias: int, rule: str):
    layer = SimpleNamespace(
        num_q_heads=2, num_k_heads=2, num_v_heads=8, head_k_dim=128, head_v_dim=128
    )
    layer.A_log, layer.dt_bias = torch.zeros(8), torch.zeros(bias)
    (seen,) = layers.linear_attention(layer, {"a": torch.zeros(4, gates)}, {})
    assert seen.scalars["rule"] == rule
