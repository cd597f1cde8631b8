"""The one exception a command turns into a sentence and exit code 1."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KerneldefsError(Exception):
    """A failure the user can act on: what was found, where, and what to do next, in one line."""


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """Return `'; nearest: a, b'` for an unknown word, or an empty string when nothing is close."""
    pool = sorted(set(known))
    close = difflib.get_close_matches(word.lower(), [k.lower() for k in pool], n=count, cutoff=0.4)
    names = [k for c in close for k in pool if k.lower() == c]
    return f"; nearest: {', '.join(dict.fromkeys(names))}" if names else ""
