"""What is asked of the served model, so that every kernel of ordinary serving is met.

Greedy sampling calls no FlashInfer sampler; top-k, top-p and both go through different APIs; paged
prefill and merging of attention states appear only when a request extends a cached prefix.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

BATCH = 4  # requests
PROMPT = 32  # tokens
LONG_PROMPT = 96  # tokens, for one step of another length
PREFIX = 32  # tokens of the cached prefix
EXTENSION = 32  # tokens that extend it

# One seed for token ids: they never reach a shape, and a fixed one keeps runs alike.
SEED = 0
# Modules, by path, that requests of text alone never reach.
NOT_TEXT = re.compile(
    r"(^|\.)(visual|vision\w*|audio\w*|\w*projector|mm_\w+|embed_(vision|audio))(\.|$)"
)


@dataclasses.dataclass(frozen=True)
class Step:
    """One batch of requests: prefill, then decode, with one way to sample.

    The sampler does the same after prefill and after decode, so most ways to sample decode nothing.
    """

    name: str
    sampling: dict[str, Any]
    prompt: int = PROMPT
    cached_prefix: bool = False
    decode: int = 0  # tokens after the first


STEPS = (
    Step("greedy", {"temperature": 0}, decode=2),
    Step("cached-prefix", {"temperature": 0}, PREFIX + EXTENSION, cached_prefix=True, decode=2),
    Step("top-p", {"temperature": 0.8, "top_p": 0.9}, LONG_PROMPT),
    Step("top-k", {"temperature": 0.8, "top_k": 50}),
    Step("top-k-top-p", {"temperature": 0.8, "top_k": 50, "top_p": 0.9}),
    Step("temperature", {"temperature": 0.8}),
    Step("min-p", {"temperature": 0.8, "top_k": 50, "top_p": 0.9, "min_p": 0.1}),
)
