"""How SGLang says that it will not serve a model: raised in its own code, with a sentence.

FlashInfer says so too, of a kernel that it has not for an architecture; and where SGLang breaks on
what it chose itself, a table says what happened.
"""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import kerneldefs

# Raised in SGLang's own code, or in the library's that it reads a config.json with.
REFUSALS = (ValueError, AssertionError, NotImplementedError, AttributeError, TypeError)
_OURS = Path(kerneldefs.__file__).parent
_NAMES = {error.__name__ for error in REFUSALS}
_REFUSERS = {"sglang": "SGLang", "transformers": "transformers"}
# What FlashInfer raises for an argument or an architecture that a kernel does not take. A class of
# its own is known by name, since FlashInfer is not imported here.
FLASHINFER = "FlashInfer"
_FLASHINFER_SAYS = {"ValueError", "NotImplementedError", "BackendSupportedError"}
# Where SGLang breaks on its own choice, read in its source: what is raised -> what happened.
_FAULTS = {
    "'FusedMoE' object has no attribute 'g1_scale_c'": (  # modelopt_quant.py, create_moe_runner
        "it chooses FlashInfer's trtllm kernels for NVFP4 experts after it laid out the weights "
        "for others; give it quantization=modelopt_fp4 or a moe_runner_backend"
    ),
}
# A config class of transformers that is asked for what config.json does not say.
_CONFIG_FILE = "configuration_utils.py"
_MISSING = re.compile(r"'(?P<config>\w+)' object has no attribute '(?P<key>\w+)'")
# An attention backend that is asked for what only others compute, such as attention sinks.
_NOT_TAKEN = re.compile(
    r"(?P<backend>\w+AttnBackend)\.(forward_\w+)\(\) got an unexpected keyword argument "
    r"'(?P<argument>\w+)'"
)


def described(error: BaseException) -> dict[str, Any]:
    """Return an exception as plain data: type, text, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "type": next((c.__name__ for c in REFUSALS if isinstance(error, c)), type(error).__name__),
        "text": str(error),
        "notes": getattr(error, "__notes__", []),
        "files": [frame.filename for frame in frames],
        "line": (frames[-1].line or "") if frames else "",
        "lineno": frames[-1].lineno if frames else 0,
    }


def sentence_of(error: dict[str, Any]) -> str:
    """What an error says, in one line; a bare assertion says what it asserts and where."""
    if error["text"] in _FAULTS:
        return _FAULTS[error["text"]]
    missing = _MISSING.fullmatch(error["text"])
    if missing:
        return f"SGLang reads {missing['key']!r} of config.json, which this one does not have"
    taken = _NOT_TAKEN.fullmatch(error["text"])
    if taken:
        return f"{taken['backend']} takes no {taken['argument']!r}, which the model's attention has"
    text = " ".join(error["text"].split("\n\n")[0].split())  # advice follows after an empty line
    if text:
        return "; ".join([text, *error["notes"][:1]])
    where = Path(error["files"][-1]).name if error["files"] else "?"
    return f"{error['type']} at {where}:{error['lineno']}: {error['line']}"


def refuser_of(error: dict[str, Any]) -> str | None:
    """Whose own code raised the error: the engine's, or a library's that it asked.

    None for an error from somewhere else, ours included, which is a failure of the capture.
    """
    if error["text"] in _FAULTS:
        return _REFUSERS["sglang"]
    kind, where = error["type"], Path(error["files"][-1]) if error["files"] else Path()
    if where.is_relative_to(_OURS):
        return None
    if kind in _FLASHINFER_SAYS and "flashinfer" in where.parts:
        return FLASHINFER
    if kind not in _NAMES:
        return None
    if kind == "AttributeError" and where.name != _CONFIG_FILE:
        return None
    if kind == "TypeError" and not _NOT_TAKEN.fullmatch(error["text"]):
        return None
    return next((name for folder, name in _REFUSERS.items() if folder in where.parts), None)
