"""How SGLang says that it will not serve a model: raised in its own code, with a sentence."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Raised in SGLang's own code, or in the library's that it reads a config.json with.
REFUSALS = (ValueError, AssertionError, NotImplementedError, AttributeError)
_NAMES = {error.__name__ for error in REFUSALS}
_REFUSERS = {"sglang": "SGLang", "transformers": "transformers"}
# A config class of transformers that is asked for what config.json does not say.
_CONFIG_FILE = "configuration_utils.py"
_MISSING = re.compile(r"'(?P<config>\w+)' object has no attribute '(?P<key>\w+)'")


def described(error: BaseException) -> dict[str, Any]:
    """Return an exception as plain data: type, text, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "type": next((c.__name__ for c in REFUSALS if isinstance(error, c)), type(error).__name__),
        "text": str(error),
        "files": [frame.filename for frame in frames],
        "line": (frames[-1].line or "") if frames else "",
        "lineno": frames[-1].lineno if frames else 0,
    }


def sentence_of(error: dict[str, Any]) -> str:
    """What an error says, in one line; a bare assertion says what it asserts and where."""
    missing = _MISSING.fullmatch(error["text"])
    if missing:
        return f"SGLang reads {missing['key']!r} of config.json, which this one does not have"
    text = " ".join(error["text"].split("\n\n")[0].split())  # advice follows after an empty line
    if text:
        return text
    where = Path(error["files"][-1]).name if error["files"] else "?"
    return f"{error['type']} at {where}:{error['lineno']}: {error['line']}"


def refuser_of(kind: str, files: Sequence[str]) -> str | None:
    """Whose own code raised the error: the engine's, or the library's that reads its configs.

    None for an error from somewhere below them, which is a failure of the capture.
    """
    if kind not in _NAMES:
        return None
    parts = Path(files[-1]).parts if files else ()
    if kind == "AttributeError" and (not parts or parts[-1] != _CONFIG_FILE):
        return None
    return next((name for folder, name in _REFUSERS.items() if folder in parts), None)
