"""Several definitions under one name: each that a word can tell apart gets that word.

FlashInfer's names say sizes, not dtypes or optional inputs, so two calls of one name may be two
kernels. The first in the order of `grouped` keeps the name, which bfloat16 does where there is one.
Another's name ends in what is different about it:

    rmsnorm_h4096_fp16           dtypes: those that the first does not have there
    x_h8_with_bias               inputs that the first lacks
    x_h8_without_bias            inputs that only the first has

Whatever differs otherwise keeps the name, and is put aside as a collision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from kerneldefs.definition.candidates import grouped
from kerneldefs.definition.draft import Draft, tensors

WORDS = {
    "bfloat16": "bf16",
    "bool": "bool",
    "float16": "fp16",
    "float32": "fp32",
    "float4_e2m1": "fp4",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8e5m2",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "int8": "i8",
}

Item = TypeVar("Item")


def told_apart(
    items: Iterable[Item], of: Callable[[Item], Draft], put: Callable[[Item, Draft], Item]
) -> list[Item]:
    """Return all items, renamed where a word tells their definition from the first of its name."""
    found: list[Item] = []
    for groups in grouped(items, of):
        first = of(groups[0][0])
        found += groups[0]
        for group in groups[1:]:
            words = difference_words(first, of(group[0]))
            found += [put(item, _renamed(of(item), words)) if words else item for item in group]
    return found


def difference_words(first: Draft, other: Draft) -> Sequence[str]:
    """Return what the name of another definition must say more; nothing where no word can tell."""
    more = [name for name in other["inputs"] if name not in first["inputs"]]
    less = [name for name in first["inputs"] if name not in other["inputs"]]
    if first["axes"] != other["axes"] or list(first["outputs"]) != list(other["outputs"]):
        return ()
    here, there = dict(tensors(first)), dict(tensors(other))
    both = [name for name in there if name in here]
    if any(here[name]["shape"] != there[name]["shape"] for name in both):
        return ()
    dtypes = [
        WORDS[there[name]["dtype"]] for name in both if there[name]["dtype"] != here[name]["dtype"]
    ]
    return (
        *dict.fromkeys(dtypes),
        *(word for name in more for word in ("with", name)),
        *(word for name in less for word in ("without", name)),
    )


def _renamed(definition: Draft, words: Sequence[str]) -> Draft:
    sentence = f"Its variant {' '.join(words)} of the name."
    text = f"{definition.get('description', '')} {sentence}".strip()
    return {
        **definition,
        "name": "_".join([definition["name"], *words]),
        "description": text,
    }
