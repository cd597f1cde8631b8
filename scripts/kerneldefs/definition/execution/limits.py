"""How much one reference may use, and what became of it: what runner and server both know."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from kerneldefs.definition.execution.sizes import BUDGET


def _processors() -> int:
    return len(os.sched_getaffinity(0))


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of one reference; how many run at once is the machine's processors by default."""

    memory: int = 2 * 2**30  # bytes beyond what torch has mapped; 1.4 of them were ever used
    processor: int = 150  # seconds of processor time
    wall: int = 300  # seconds by the clock
    budget: int = BUDGET  # bytes of all inputs and outputs
    jobs: int = dataclasses.field(default_factory=_processors)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one reference.

    `kind` is "passed" or what failed: screen, inputs, error, arity, type, shape, dtype, nan, inf,
    mutated, nondeterministic, disagrees, memory, time, crash, unconfined. `scaled` lists const
    axes that were cut to fit into memory; `agreement` is `verify.agreement`'s answer.
    """

    passed: bool
    kind: str
    reason: str
    scaled: tuple[str, ...] = ()
    seconds: float = 0.0
    agreement: Mapping[str, Any] | None = None

    @property
    def verified(self) -> bool:
        """Return whether it agreed with an independent implementation."""
        return self.passed and bool(self.agreement and self.agreement.get("agrees") is True)

    @property
    def lasting(self) -> bool:
        """Return whether it would be the same on another day: no limit or accident was met."""
        return self.kind not in ("memory", "time", "crash", "unconfined")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: Any) -> Outcome:
        """Build from `to_json` data; raises ValueError for anything else.

        The process that writes it has run untrusted code, so no type is taken on trust.
        """
        if not isinstance(data, dict) or set(data) != set(_TYPES):
            raise ValueError("not a verdict")
        if not all(isinstance(data[key], kinds) for key, kinds in _TYPES.items()):
            raise ValueError("not a verdict")
        if not all(isinstance(item, str) for item in data["scaled"]):
            raise ValueError("not a verdict")
        if data["passed"] != (data["kind"] == "passed"):
            raise ValueError("a verdict that contradicts itself")
        return Outcome(**{**data, "scaled": tuple(data["scaled"])})


_TYPES: dict[str, tuple[type, ...]] = {
    "passed": (bool,),
    "kind": (str,),
    "reason": (str,),
    "scaled": (list, tuple),
    "seconds": (int, float),
    "agreement": (dict, type(None)),
}


def failed(kind: str, reason: str) -> Outcome:
    """Return the outcome of a reference that did not get to say one itself."""
    return Outcome(False, kind, reason)
