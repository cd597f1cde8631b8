"""What is read of a layer, whichever release of SGLang it is of."""

from __future__ import annotations

from types import SimpleNamespace

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
