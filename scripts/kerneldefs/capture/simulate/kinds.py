"""Which layers of a built model differ: a layer's kind is what it is built of.

That is the classes of its modules, the shapes and types of their parameters, and their plain
attributes, but for the layer's own number.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import torch
from transformers import PretrainedConfig

_PLAIN = (bool, int, float, str, type(None), torch.dtype)
# Told by their own facts, or shared by all layers: the model's config describes the whole model.
_NOT_ITS_OWN = (torch.Tensor, torch.nn.Module, PretrainedConfig)
_NUMBER_IN_NAME = re.compile(r"(?<![^.])\d+(?![^.])")
_INDEX_NAME = re.compile(r"(?:^|_)layer_?(?:id|idx|index|number|num)s?$|^idx$")
_PLACE_NAME = re.compile(r"(?:^|[._])(?:is_)?(?:first|last|final)(?:_|$)")

Facts = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Survey:
    """The kinds of a model's layers, in order, and the facts that were seen to make no kind."""

    kinds: tuple[str, ...]
    ignored: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Survey:
        """Build from `to_json` data."""
        return Survey(tuple(data["kinds"]), tuple(data["ignored"]))

    def of_cut(self, kept: int) -> tuple[str, ...]:
        """Return the kinds, in order, of the model that is cut to its `kept` leading layers.

        Its last layer may know that it is the last, and is then as the whole model's last one.
        """
        return (*self.kinds[: kept - 1], *self.kinds[-1:])

    def needed(self) -> int:
        """Return how many leading layers hold one of each kind, the last layer's own included.

        A layer may know that it is the last; of a cut model that is another one, so the last
        layer's kind counts as met when one more layer than the others need is kept.
        """
        if not self.kinds:
            return 0
        inner = set(self.kinds[:-1])
        first = [self.kinds.index(kind) for kind in inner]
        kept = max(first, default=-1) + 1
        if self.kinds[-1] not in inner:
            return kept + 1
        # Nor does a layer look the same that knows what follows it: end as the whole model ends.
        last = self.kinds[-1]
        return next(n for n, kind in enumerate(self.kinds, 1) if n >= kept and kind == last)


class _Lists:
    """The digests of lists, each told once: what a model leaves unquantized names its every layer.

    Every quantized module holds that one list; none is changed while a model is surveyed.
    """

    def __init__(self) -> None:
        self._told: dict[int, tuple[Any, str | None]] = {}  # holds the list: its id stays its own

    def digest(self, value: Any) -> str | None:
        """Return a list's digest; None for one that says nothing of a layer's kind."""
        if id(value) not in self._told:
            plain = all(isinstance(item, _PLAIN) for item in value)
            told = _sha([_plain(item, self) for item in value]) if plain else None
            self._told[id(value)] = value, told
        return self._told[id(value)][1]


def _plain(value: Any, lists: _Lists) -> Any:
    """A comparable form of an attribute; None for what says nothing of a layer's kind."""
    if isinstance(value, str):
        return _NUMBER_IN_NAME.sub("N", value)
    if isinstance(value, _PLAIN):
        return str(value) if isinstance(value, torch.dtype) else value
    return lists.digest(value) if isinstance(value, (list, tuple)) else None


@functools.cache
def _says_nothing(name: str) -> bool:
    return name.startswith("_") or _INDEX_NAME.search(name) is not None


def _attributes(owner: Any, path: str, lists: _Lists, deeper: bool) -> Iterator[tuple[str, Any]]:
    for name, value in vars(owner).items():
        if _says_nothing(name):
            continue
        plain = _plain(value, lists)
        if plain is not None:
            yield f"{path}.{name}", plain
        elif isinstance(value, _NOT_ITS_OWN) or value is None:
            continue
        else:
            yield f"{path}.{name}", type(value).__qualname__
            if (
                deeper
                and type(value).__module__.startswith("sglang")
                and hasattr(value, "__dict__")
            ):
                yield from _attributes(value, f"{path}.{name}", lists, False)


def _facts(layer: torch.nn.Module, lists: _Lists) -> Facts:
    """What a layer is built of, by module path and name."""
    facts: Facts = {}
    for path, module in layer.named_modules():
        facts[path] = type(module).__qualname__
        facts.update(_attributes(module, path, lists, True))
        for kind in (module._parameters, module._buffers):
            for name, tensor in kind.items():
                if tensor is not None:
                    facts[f"{path}.{name}"] = [list(tensor.shape), str(tensor.dtype)]
    return facts


def _no_kind(layers: list[Facts], arguments: frozenset[str]) -> frozenset[str]:
    """The facts that make no kind: what counts layers, whatever it is called, and what all share.

    Numbers that go up by one with every layer, or that go up by one every few layers to three
    values or more (blocks of layers). So do flags of the first or last layer alone: a cut model has
    a first and a last layer too. Shared is what is named after a server argument.
    """
    values: dict[str, list[Any]] = {}
    for facts in layers:
        for name, value in facts.items():
            values.setdefault(name, []).append(value)
    return frozenset(
        name
        for name, seen in values.items()
        # Nearly all facts are neither number nor flag, and cost no more than a look.
        if (isinstance(seen[0], int) and (_counts(seen) or _marks_place(name, seen)))
        or (name.rpartition(".")[2] in arguments and seen == [seen[0]] * len(layers))
    )


def _marks_place(name: str, seen: list[Any]) -> bool:
    if not _PLACE_NAME.search(name) or not all(isinstance(value, bool) for value in seen):
        return False
    return len(set(seen[1:-1])) < 2


def _counts(seen: list[Any]) -> bool:
    if seen[0] == seen[-1] or not all(
        isinstance(value, int) and not isinstance(value, bool) for value in seen
    ):
        return False
    steps = {after - before for before, after in itertools.pairwise(seen)}
    return steps <= {0, 1} and len(set(seen)) >= min(3, len(seen)) > 1


def _digest(facts: Facts, ignored: frozenset[str]) -> str:
    return _sha({name: value for name, value in facts.items() if name not in ignored})


def _sha(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _layer_lists(model: torch.nn.Module, count: int) -> list[torch.nn.ModuleList]:
    """The model's lists of so many layers; lists inside of a layer are part of it."""
    found: dict[str, torch.nn.ModuleList] = {}
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in found)
        if isinstance(module, torch.nn.ModuleList) and len(module) == count and not inside:
            found[path] = module
    return list(found.values())


def survey(
    model: torch.nn.Module,
    count: int,
    ignored: Collection[str] | None = None,
    arguments: Collection[str] = (),
) -> Survey:
    """Return the kinds of a model's `count` layers; none where no list of them is found.

    `ignored` are those of the whole model when `model` is a cut of it. `arguments` are the names of
    the server's: what one of them says to all layers alike is no layer's own.
    """
    layers: list[Facts] = [{} for _ in range(count)]
    found, lists = _layer_lists(model, count), _Lists()
    for number, modules in enumerate(found):
        for facts, layer in zip(layers, modules, strict=True):
            own = _facts(layer, lists)
            facts.update({f"{number}:{name}": value for name, value in own.items()})
    if not found:
        return Survey((), ())
    without = _no_kind(layers, frozenset(arguments)) if ignored is None else frozenset(ignored)
    return Survey(tuple(_digest(facts, without) for facts in layers), tuple(sorted(without)))
