"""What the simulation did instead of a GPU: nothing that was skipped or guessed goes unsaid."""

from __future__ import annotations

import collections
from typing import Any

# Kinds of entries, with the sentence that capture.json carries for each.
KINDS = {
    "collective": "communication between ranks; rank 0 keeps its own data",
    "compiled op": "compiled operator without a result; its outputs keep their shapes",
    "flashinfer kernel": "compiled FlashInfer kernel below a recorded API",
    "known value failed": "operator that could not run on the small values that are tracked",
    "sglang kernel": "kernel that SGLang compiles at run time",
    "stubbed call": "function of a package that exists only as CUDA code",
    "triton kernel": "Triton kernel launch",
}


class Ledger:
    """Counts of skipped work by kind and name, and every value that had to be guessed."""

    def __init__(self) -> None:
        self.skipped: dict[str, collections.Counter[str]] = {
            k: collections.Counter() for k in KINDS
        }
        self.notes: list[str] = []
        self.guesses: collections.Counter[str] = collections.Counter()
        self._loading: set[str] = set()
        self._step: set[str] = set()

    def skip(self, kind: str, name: str) -> None:
        """Count one piece of work that a GPU would have done."""
        self.skipped[kind][name] += 1

    def note(self, what: str) -> None:
        """Note how the pretence differs from a machine that has everything."""
        self.notes.append(what)

    def guess(self, what: str) -> None:
        """Note a value that control flow asked for and nothing knew."""
        self.guesses[what] += 1
        self._step.add(what)

    def end_loading(self) -> None:
        """Keep the guesses of loading: the whole model may be built on them."""
        self._loading, self._step = self._step, set()

    def start_step(self) -> None:
        """Forget the guesses of the last probe step: each step starts from known values."""
        self._step.clear()

    def marks(self) -> tuple[str, ...]:
        """Return what puts calls of the current probe step in doubt."""
        return tuple(
            f"after a guessed value: {what}" for what in sorted(self._loading | self._step)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the entries of capture.json, stable in order."""
        return {
            "notes": sorted(set(self.notes)),
            "guesses": dict(sorted(self.guesses.items())),
            "skipped": {
                kind: {"why": why, "calls": dict(sorted(self.skipped[kind].items()))}
                for kind, why in KINDS.items()
                if self.skipped[kind]
            },
        }


LEDGER = Ledger()  # one per process: a process captures one serving config
