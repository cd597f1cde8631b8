"""What the cases of native.py share: two requests over pages, and how results are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

LENGTHS, PAGE = (6, 3), 4  # keys of two requests, on pages of four
PLACES = {  # in no order
    "kv_indptr": torch.tensor([0, 2, 3], dtype=torch.int32),
    "kv_indices": torch.tensor([4, 1, 2], dtype=torch.int32),
    "kv_last_page_len": torch.tensor([2, 3], dtype=torch.int32),
}
SLOTS = torch.tensor([[16, 17, 18, 19, 4, 5], [8, 9, 10, 0, 0, 0]])  # the same, a token a slot
CASES: dict[str, Callable[[], None]] = {}


def case(function: Callable[[], None]) -> Callable[[], None]:
    """Note a case under its function's name."""
    CASES[function.__name__] = function
    return function


def close(found: Any, expected: Any) -> None:
    """Compare in single precision."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
