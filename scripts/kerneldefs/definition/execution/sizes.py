"""A size for every axis: const ones real where memory allows, var ones small and consistent."""

from __future__ import annotations

import ast
import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kerneldefs.definition.execution.evaluate import Unevaluable, evaluate, names_of

REQUESTS = 3
QUERIES = 6  # tokens of all requests together
KEYS = 9  # tokens, or pages, of all requests together
BUDGET = 350 * 2**20  # bytes of all inputs and outputs, an element counted as four or more
EXPERTS_BUDGET = 64 * 2**20  # from which on there are fewer experts, since all of them are alike

# Var axes by name, first match wins; what is not listed is 4.
_SMALL: tuple[tuple[str, int], ...] = (
    (r"plus_1|plus_one|len_indptr|indptr|len_cu_seqlens|num_checkpoint_offsets", REQUESTS + 1),
    (r"(^|_)batch(_size(_p|_\d)?)?$|num_(seqs|sequences|requests)|^[bB]$", REQUESTS),
    (r"q_len_per_request|^one$|^scalar$|singleton|beam_width", 1),
    (r"max_(num_)?(pages|blocks)|pages_per_seq|blocks_per_seq", 4),
    (r"num_pages|num_blocks|num_slots|cache_size|pool_size|num_states", 16),
    (r"total_kv|total_k$|nnz_kv|kv_len|num_kv|num_indices|total_pages", KEYS),
    (r"total_q|nnz|qo_len|q_len|num_tokens|seq_len|^[mMTt]$", QUERIES),
    (r"max_seq_len|max_position|max_len|rope_len", 64),
)
_OTHER = 4
_DIVIDED = re.compile(r"(\w+?)_(div|packed)(?:_(\d+))?$")

# Const axes that are halved together when a definition is too large, in this order, down to a
# floor. The sizes of one row must stay in proportion, so all of its axes are halved or none.
_EXPERTS = r"num_local_experts|num_weight_rows"
_SCALED: tuple[tuple[str, int], ...] = (
    (_EXPERTS, 2),
    (r"num_experts", 32),
    (r"intermediate|gemm1_out", 1),
    (r"vocab", 1024),
    (r"^N($|_)", 256),
    (r"^K($|_)", 256),
)
_LARGEST_TRIED = 8192
_WIDTH = {"int64": 8, "float64": 8}


class NoSizes(Exception):
    """A definition whose axes can be given no sizes: why, in a sentence."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The chosen sizes, and which const axes are smaller than they really are."""

    axes: dict[str, int]
    scaled: tuple[str, ...]


def choose(definition: Mapping[str, Any], budget: int = BUDGET) -> Sizes:
    """Return a size for every axis of a definition.

    Raises `NoSizes` when a constraint on axes alone cannot hold, or memory is too small.
    """
    axes = {name: _size(name, definition) for name in definition["axes"]}
    free = [name for name, axis in definition["axes"].items() if axis["type"] == "var"]
    constraints = [text for text in definition.get("constraints", []) if names_of(text) <= {*axes}]
    for _ in range(2):  # the second round sees what the first one has set
        for text in constraints:
            _satisfy(text, axes, free)
    for text in constraints:
        if not _holds(text, axes):
            raise NoSizes(f"no small sizes found for which {text!r} holds")
    return _fit(definition, axes, budget)


def cost(definition: Mapping[str, Any], axes: Mapping[str, int]) -> int:
    """Return the bytes of inputs and outputs; references compute in float32, hence 4 at least."""
    specs = [*definition["inputs"].values(), *definition["outputs"].values()]
    return sum(
        math.prod(axes[dim] for dim in spec["shape"] or ()) * _WIDTH.get(spec["dtype"], 4)
        for spec in specs
    )


def _size(name: str, definition: Mapping[str, Any]) -> int:
    axes = definition["axes"]
    if axes[name]["type"] == "const":
        return int(axes[name]["value"])
    if name == "num_tokens" and "batch_size" in axes and "decode" in definition["name"]:
        return REQUESTS  # one token for each request
    divided = _DIVIDED.fullmatch(name)
    if divided:
        whole = axes.get(divided[1]) or axes.get(f"{divided[1]}_size") or {}
        if whole.get("type") == "const":
            return max(1, int(whole["value"]) // int(divided[3] or 2))
    for pattern, size in _SMALL:
        if re.search(pattern, name):
            return size
    return _OTHER


def _holds(text: str, axes: Mapping[str, int]) -> bool:
    try:
        return bool(evaluate(text, axes))
    except Unevaluable as error:
        raise NoSizes(f"the constraint {text!r} cannot be evaluated: {error}") from None


def _satisfy(text: str, axes: dict[str, int], free: list[str]) -> None:
    """Set one var axis so that a constraint holds, if it does not already."""
    if _holds(text, axes):
        return
    unknown = [name for name in free if name in names_of(text)]
    for name, other in _defined(text, unknown):
        size = evaluate(other, axes)
        if isinstance(size, int) and size > 0:
            axes[name] = size
            return
    for name in unknown:
        for size in (*range(axes[name], _LARGEST_TRIED), *range(1, axes[name])):
            if _holds(text, {**axes, name: size}):
                axes[name] = size
                return


def _defined(text: str, unknown: list[str]) -> Iterator[tuple[str, str]]:
    """The axes that stand alone on one side of an equation, with the other side."""
    tree = ast.parse(text, mode="eval").body
    if isinstance(tree, ast.Compare) and len(tree.ops) == 1 and isinstance(tree.ops[0], ast.Eq):
        left, right = tree.left, tree.comparators[0]
        for side, other in ((left, right), (right, left)):
            if isinstance(side, ast.Name) and side.id in unknown:
                yield side.id, ast.unparse(other)


def _fit(definition: Mapping[str, Any], axes: dict[str, int], budget: int) -> Sizes:
    real = dict(axes)
    for pattern, floor in _SCALED:
        group = [name for name in axes if re.search(pattern, name)]
        group = [name for name in group if definition["axes"][name]["type"] == "const"]
        most = min(budget, EXPERTS_BUDGET) if pattern == _EXPERTS else budget
        while group and cost(definition, axes) > most and _halves(group, axes, floor):
            axes = {name: size // 2 if name in group else size for name, size in axes.items()}
            if not all(_holds(text, axes) for text in _about(definition, axes)):
                raise NoSizes("scaled down to fit into memory, its constraints do not hold")
    needed = cost(definition, axes)
    if needed > budget:
        raise NoSizes(f"it needs {needed >> 20} MB, more than {budget >> 20} MB, however scaled")
    changed = [f"{name} {real[name]} -> {axes[name]}" for name in axes if axes[name] != real[name]]
    return Sizes(axes, tuple(changed))


def _halves(group: list[str], axes: Mapping[str, int], floor: int) -> bool:
    """Whether a group of axes can be halved; rows with those of shared experts need not be even."""
    return all(
        (axes[name] % 2 == 0 or name == "num_weight_rows") and axes[name] // 2 >= floor
        for name in group
    )


def _about(definition: Mapping[str, Any], axes: Mapping[str, int]) -> list[str]:
    return [text for text in definition.get("constraints", []) if names_of(text) <= {*axes}]
