"""What the simulation did instead of a GPU: nothing that was skipped or guessed goes unsaid."""

from __future__ import annotations

import collections
import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from kerneldefs.capture.simulate.allowed import HARMLESS, why_skipped

# Kinds of work that are skipped.
KINDS = (
    "collective",
    "compiled op",
    "flashinfer kernel",
    "known value failed",
    "sglang kernel",
    "stubbed call",
    "triton kernel",
)
_BELOW_APIS = "flashinfer kernel"


def _asking() -> str:
    """The innermost function of SGLang or FlashInfer on the stack, as module.function."""
    frame = sys._getframe(2)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(("sglang.", "flashinfer.")):
            return f"{module}.{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _unexplained(kind: str, name: str) -> str:
    return f"{kind} {name} was skipped, and nothing says what that loses"


class Ledger:
    """Counts of skipped work by kind and name, and every value that had to be guessed."""

    def __init__(self) -> None:
        self.skipped: dict[str, collections.Counter[str]] = {
            k: collections.Counter() for k in KINDS
        }
        self._inside = 0
        self._bare: set[str] = set()  # compiled FlashInfer kernels that no API was called for
        self.notes: list[str] = []
        self.guesses: collections.Counter[str] = collections.Counter()
        self._loading: set[str] = set()
        self._step: set[str] = set()

    def skip(self, kind: str, name: str) -> None:
        """Count one piece of work that a GPU would have done."""
        self.skipped[kind][name] += 1
        if kind == _BELOW_APIS and self._inside:
            return
        if kind == _BELOW_APIS:
            self._bare.add(name)
        if why_skipped(kind, name) is None:
            self._step.add(f"after {_unexplained(kind, name)}")

    @contextlib.contextmanager
    def inside_api(self) -> Iterator[None]:
        """What is skipped in here belongs to a FlashInfer API whose call is recorded."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def _why(self, kind: str, name: str) -> str | None:
        if kind == _BELOW_APIS and name not in self._bare:
            return "below a recorded call of FlashInfer's API"
        return why_skipped(kind, name)

    def note(self, what: str) -> None:
        """Note how the pretence differs from a machine that has everything."""
        self.notes.append(what)

    def guess(self, what: str) -> None:
        """Note a value that control flow asked for and nothing knew, and who asked for it."""
        site = _asking()
        text = f"{what}, in {site}" if site else what
        self.guesses[text] += 1
        if site not in HARMLESS:
            self._step.add(f"after a guessed value: {text}")

    def end_loading(self) -> None:
        """Keep the doubts of loading: the whole model may be built on them."""
        self._loading, self._step = self._step, set()

    def start_step(self) -> None:
        """Forget the doubts of the last probe step: each step starts from known values."""
        self._step.clear()

    def marks(self) -> tuple[str, ...]:
        """Return what puts calls of the current probe step in doubt."""
        return tuple(sorted(self._loading | self._step))

    def unexplained(self) -> list[str]:
        """Return a line for every skipped piece of work that no table has a reason for."""
        return [
            _unexplained(kind, name)
            for kind, counts in self.skipped.items()
            for name in sorted(counts)
            if self._why(kind, name) is None
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the entries of capture.json, stable in order.

        `skipped` is {kind: {name: {"calls": how often, "why": why it loses nothing, or null}}};
        `guesses` is {what was asked, and by whom: how often}, `harmless` says of some why no call
        depends on the answer.
        """
        return {
            "notes": sorted(set(self.notes)),
            "guesses": dict(sorted(self.guesses.items())),
            "harmless": {
                site: why
                for site, why in sorted(HARMLESS.items())
                if any(guess.endswith(f", in {site}") for guess in self.guesses)
            },
            "skipped": {
                kind: {
                    name: {"calls": count, "why": self._why(kind, name)}
                    for name, count in sorted(counts.items())
                }
                for kind, counts in self.skipped.items()
                if counts
            },
        }


LEDGER = Ledger()  # one per process: a process captures one serving config
