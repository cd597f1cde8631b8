"""Corruptions of a definition, each at a random place, and what is no corruption after all."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

from kerneldefs.definition.draft import DTYPES, Draft

Mutation = Callable[[Draft, random.Random], str | None]


def _tensor(draft: Draft, choose: random.Random) -> tuple[str, str, dict[str, Any]]:
    side = choose.choice(["inputs", "outputs"])
    name = choose.choice(list(draft[side]))
    return side, name, draft[side][name]


def swap_axes(draft: Draft, choose: random.Random) -> str | None:
    """Exchange two axes of one shape."""
    _, name, spec = _tensor(draft, choose)
    shape = spec["shape"]
    if not shape or len(set(shape)) < 2:
        return None
    one, other = choose.sample(range(len(shape)), 2)
    if shape[one] == shape[other]:
        return None
    shape[one], shape[other] = shape[other], shape[one]
    return f"axes {one} and {other} of {name}"


def change_dtype(draft: Draft, choose: random.Random) -> str:
    """Give one tensor or scalar another dtype."""
    _, name, spec = _tensor(draft, choose)
    spec["dtype"] = choose.choice(sorted(DTYPES - {spec["dtype"]}))
    return f"dtype of {name}: {spec['dtype']}"


def drop_tensor(draft: Draft, choose: random.Random) -> str:
    """Leave out one input or output."""
    side, name, _ = _tensor(draft, choose)
    del draft[side][name]
    return f"{side} without {name}"


def rename_tensor(draft: Draft, choose: random.Random) -> str:
    """Rename one input or output, in its place."""
    side, name, _ = _tensor(draft, choose)
    draft[side] = {f"{k}_x" if k == name else k: v for k, v in draft[side].items()}
    return f"{name} renamed in {side}"


def rename(draft: Draft, choose: random.Random) -> str | None:
    """Change one digit of the name."""
    places = [i for i, letter in enumerate(draft["name"]) if letter.isdigit()]
    if not places:
        return None
    place = choose.choice(places)
    digit = choose.choice([d for d in "123456789" if d != draft["name"][place]])
    draft["name"] = draft["name"][:place] + digit + draft["name"][place + 1 :]
    return f"name {draft['name']}"


def reorder(draft: Draft, choose: random.Random) -> str | None:
    """Exchange two neighbours among the inputs or outputs."""
    side = choose.choice(["inputs", "outputs"])
    items = list(draft[side].items())
    if len(items) < 2:
        return None
    place = choose.randrange(len(items) - 1)
    items[place], items[place + 1] = items[place + 1], items[place]
    draft[side] = dict(items)
    return f"{side} in the order {list(draft[side])}"


def change_size(draft: Draft, choose: random.Random) -> str | None:
    """Give one const axis another size."""
    axes = [name for name, axis in draft["axes"].items() if axis["type"] == "const"]
    if not axes:
        return None
    name = choose.choice(axes)
    value = draft["axes"][name]["value"]
    draft["axes"][name]["value"] = choose.choice([value * 2, value + 1, max(1, value // 2) + 3, 0])
    return f"axis {name} of {draft['axes'][name]['value']}"


def free_axis(draft: Draft, choose: random.Random) -> str | None:
    """Turn a const axis into a var one."""
    axes = [name for name, axis in draft["axes"].items() if axis["type"] == "const"]
    name = choose.choice(axes)
    draft["axes"][name] = {"type": "var"}
    return f"var axis {name}"


def drop_axis(draft: Draft, choose: random.Random) -> str:
    """Leave out one declared axis."""
    name = choose.choice(list(draft["axes"]))
    del draft["axes"][name]
    return f"no axis {name}"


def change_arity(draft: Draft, choose: random.Random) -> str:
    """Let run() return one value more, or take one more."""
    renamed = draft["reference"].replace("def run(", "def _run(")
    names = ", ".join(draft["inputs"])
    outputs = len(draft["outputs"])
    more = choose.choice(["extra", "returned"])
    takes = f"{names}, extra" if more == "extra" else names
    values = (
        f"result = _run({names})\n    result = result if isinstance(result, tuple) else (result,)"
    )
    count = outputs + (more == "returned")
    returns = ", ".join(f"result[{min(i, outputs - 1)}]" for i in range(count))
    draft["reference"] = f"{renamed}\n\ndef run({takes}):\n    {values}\n    return {returns}\n"
    return f"run with one {more} value"


def break_constraint(draft: Draft, choose: random.Random) -> str:
    """Add a constraint that cannot hold, is none, or names what there is not."""
    axis = choose.choice(list(draft["axes"]))
    text = choose.choice(
        [f"{axis} < 0", f"{axis} == {axis} + 1", f"{axis} ==", f"{axis} == nowhere", "open('x')"]
    )
    draft["constraints"] = [*draft.get("constraints", []), text]
    return f"constraint {text}"


def change_words(draft: Draft, choose: random.Random) -> str:
    """Spoil a tag, the op_type, or a key."""
    what = choose.choice(["tag", "op_type", "key", "reference"])
    if what == "tag":
        draft["tags"] = [*draft["tags"], "anything:else"]
    elif what == "op_type":
        draft["op_type"] = f"{draft['op_type']}_x"
    elif what == "key":
        draft["init"] = "x"
    else:
        draft["reference"] = draft["reference"].replace("def run(", "def walk(")
    return f"spoilt {what}"


MUTATIONS: tuple[Mutation, ...] = (
    swap_axes,
    change_dtype,
    drop_tensor,
    rename_tensor,
    rename,
    reorder,
    change_size,
    free_axis,
    drop_axis,
    change_arity,
    break_constraint,
    change_words,
)


def mutated(draft: Draft, mutation: Mutation, choose: random.Random) -> tuple[Draft, str] | None:
    """Return a corrupted copy and what was done; None where the mutation finds no place."""
    copied = copy.deepcopy(draft)
    what = mutation(copied, choose)
    return None if what is None else (copied, what)
