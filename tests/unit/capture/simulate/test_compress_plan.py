"""Shapes of the compressed attention's plans, against SGLang's planner counted by hand."""

import pytest
import torch
from kerneldefs.capture.simulate.compress_plan import _counts


@pytest.mark.parametrize(
    ("length", "extend", "ratio", "ring", "own_ring", "complete", "kept"),
    [
        (32, 32, 4, 8, True, 8, 4),  # the last whole group is kept for the next to overlap
        (32, 32, 4, 8, False, 8, 8),  # and the last group of each page of 16 tokens
        (30, 30, 4, 8, True, 7, 6),
        (130, 130, 128, 128, False, 1, 2),
        (128, 128, 128, 128, False, 1, 0),  # nothing is left over
        (64, 32, 4, 8, True, 8, 4),  # the prefix was counted when it came
    ],
)
def test_counts_complete_groups_and_kept_tokens(
    length, extend, ratio, ring, own_ring, complete, kept
):
    lengths, extends = torch.tensor([length] * 2), torch.tensor([extend] * 2)
    found = _counts(lengths, extends, ratio, 16, ring, own_ring)
    assert found == (2 * complete, 2 * kept)
