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


@dataclasses.dataclass(frozen=True)
class Row:
    """The definitions that a pattern of names fits, and what to compare them with."""

    name: str
    inputs: tuple[str, ...]  # that a definition must have, and no others but those in `others`
    others: tuple[str, ...]
    against: str
    pairs: Callable[[Definition, Values, Run], list[Pair]]
