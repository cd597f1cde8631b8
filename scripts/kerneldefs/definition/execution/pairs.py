"""What an independent implementation gives back: outputs beside what they should be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

Definition = Mapping[str, Any]
Values = Mapping[str, Any]
Run = Callable[..., list[Any]]


@dataclasses.dataclass(frozen=True)
class Pair:
    """One output and what it should be; where `sure` is False either answer would do.

    `tolerance` (absolute, relative) replaces that of the output's dtype.
    """

    got: Any
    expected: Any
    sure: Any = None
    tolerance: tuple[float, float] | None = None
