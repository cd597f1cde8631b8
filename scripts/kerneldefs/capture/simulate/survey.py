"""Which layers of a model differ, told from its built modules.

SGLang builds the whole model once, in a forked process that ends there. A layer's kind is what it
is built of: the classes of its modules, the shapes and types of their parameters, and their plain
attributes, but for the layer's own number. The capture then keeps the leading layers that hold one
of every kind, and checks that the cut model has the same kinds as the whole one.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import hashlib
import itertools
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig

from kerneldefs.capture.layers import Cut, keep_leading, layer_count
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json, write_text

_PLAIN = (bool, int, float, str, type(None), torch.dtype)
# Told by their own facts, or shared by all layers: the model's config describes the whole model.
_NOT_ITS_OWN = (torch.Tensor, torch.nn.Module, PretrainedConfig)
_NUMBER_IN_NAME = re.compile(r"(?<![^.])\d+(?![^.])")
_INDEX_NAME = re.compile(r"(?:^|_)layer_?(?:id|idx|index|number|num)s?$|^idx$")
_PLACE_NAME = re.compile(r"(?:^|[._])(?:is_)?(?:first|last|final)(?:_|$)")
_PARENT_DIED = 1  # PR_SET_PDEATHSIG

Facts = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Survey:
    """The kinds of a model's layers, in order, and the facts that were seen to count layers."""

    kinds: tuple[str, ...]
    counters: tuple[str, ...]

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


# ---- what a layer is built of


def _plain(value: Any) -> Any:
    """A comparable form of an attribute; None for what says nothing of a layer's kind."""
    if isinstance(value, str):
        return _NUMBER_IN_NAME.sub("N", value)
    if isinstance(value, _PLAIN):
        return str(value) if isinstance(value, torch.dtype) else value
    if isinstance(value, (list, tuple)) and all(isinstance(item, _PLAIN) for item in value):
        return [_plain(item) for item in value]
    return None


def _attributes(owner: Any, path: str, deeper: bool) -> Iterator[tuple[str, Any]]:
    for name, value in sorted(vars(owner).items()):
        if name.startswith("_") or _INDEX_NAME.search(name):
            continue
        plain = _plain(value)
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
                yield from _attributes(value, f"{path}.{name}", False)


def _facts(layer: torch.nn.Module) -> Facts:
    """What a layer is built of, by module path and name."""
    facts: Facts = {}
    for path, module in layer.named_modules():
        facts[path] = type(module).__qualname__
        facts.update(_attributes(module, path, True))
        for kind in (module._parameters, module._buffers):
            for name, tensor in kind.items():
                if tensor is not None:
                    facts[f"{path}.{name}"] = [list(tensor.shape), str(tensor.dtype)]
    return facts


def _counters(layers: list[Facts]) -> set[str]:
    """The facts that count layers, whatever they are called.

    Numbers that go up by one with every layer, or that go up by one every few layers to three
    values or more (blocks of layers). So do flags of the first or last layer alone: a cut model has
    a first and a last layer too.
    """
    values: dict[str, list[Any]] = {}
    for facts in layers:
        for name, value in facts.items():
            values.setdefault(name, []).append(value)
    return {
        name
        for name, seen in values.items()
        if _counts(seen) or (_PLACE_NAME.search(name) and _is_place(seen))
    }


def _is_place(seen: list[Any]) -> bool:
    inner = set(seen[1:-1])
    return all(isinstance(value, bool) for value in seen) and len(inner) < 2


def _counts(seen: list[Any]) -> bool:
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in seen):
        return False
    steps = {after - before for before, after in itertools.pairwise(seen)}
    return steps <= {0, 1} and len(set(seen)) >= min(3, len(seen)) > 1


def _digest(facts: Facts, counters: set[str]) -> str:
    kept = {name: value for name, value in facts.items() if name not in counters}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def _layer_lists(model: torch.nn.Module, count: int) -> list[torch.nn.ModuleList]:
    """The model's lists of so many layers; lists inside of a layer are part of it."""
    found: dict[str, torch.nn.ModuleList] = {}
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in found)
        if isinstance(module, torch.nn.ModuleList) and len(module) == count and not inside:
            found[path] = module
    return list(found.values())


def survey(model: torch.nn.Module, count: int, counters: set[str] | None = None) -> Survey:
    """Return the kinds of a model's `count` layers; none where no list of them is found.

    `counters` are those of the whole model when `model` is a cut of it.
    """
    layers: list[Facts] = [{} for _ in range(count)]
    lists = _layer_lists(model, count)
    for number, modules in enumerate(lists):
        for facts, layer in zip(layers, modules, strict=True):
            facts.update({f"{number}:{name}": value for name, value in _facts(layer).items()})
    if not lists:
        return Survey((), ())
    if counters is None:
        counters = _counters(layers)
    return Survey(tuple(_digest(facts, counters) for facts in layers), tuple(sorted(counters)))


# ---- building without going on


class _Built(Exception):
    """Ends loading where the model is built."""


@contextlib.contextmanager
def when_built(then: Callable[[torch.nn.Module], None]) -> Iterator[None]:
    """Call `then(model)` when SGLang has built its model and before it gets weights."""
    from sglang.srt.model_loader import loader

    build = loader._initialize_model

    def initialize(*args: Any, **kwargs: Any) -> Any:
        model = build(*args, **kwargs)
        then(model)
        return model

    loader._initialize_model = initialize
    try:
        yield
    finally:
        loader._initialize_model = build


def survey_whole(load: Callable[[], Any], count: int) -> Survey | None:
    """Return the survey of the model that `load` builds, in a process that ends there.

    None where it was not built: the capture will meet the same refusal or failure, and report it.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _build_and_tell(load, count, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        return None
    found = json.loads(answer)
    return Survey(tuple(found["kinds"]), tuple(found["counters"]))


def _build_and_tell(load: Callable[[], Any], count: int, writing: int) -> None:
    """Be the forked process: build, tell the survey, end."""
    try:
        ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
        quiet = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(quiet, stream)

        def tell(model: torch.nn.Module) -> None:
            found = dataclasses.asdict(survey(model, count))
            with os.fdopen(writing, "w") as pipe:
                pipe.write(json.dumps(found))
            raise _Built

        with when_built(tell):
            load()
    finally:
        os._exit(0)


def check_cut(whole: Survey, kept: int) -> Callable[[torch.nn.Module], None]:
    """Return a check for `when_built`: the cut model's layers are of the whole model's kinds."""

    def check(model: torch.nn.Module) -> None:
        cut = survey(model, kept, set(whole.counters))
        missing = set(whole.kinds) ^ set(cut.kinds)
        if missing:
            raise KerneldefsError(
                f"the model cut to {kept} of {len(whole.kinds)} layers has other kinds of layers "
                f"than the whole one ({len(set(cut.kinds))} instead of {len(set(whole.kinds))}); "
                "teach kerneldefs/capture/layers.py the per-layer entry that its config.json has"
            )

    return check


def cut_model(
    model: Path, load: Callable[[], Any]
) -> tuple[Cut, Callable[[torch.nn.Module], None]]:
    """Cut config.json in the directory `model` to the layers that hold one of every kind.

    `load` loads the model in that directory. Returns the cut, and the check for `when_built`.
    """
    path = model / "config.json"
    config = read_json(path)
    count = layer_count(config)
    whole = survey_whole(load, count)
    if whole is None or not whole.kinds:
        return Cut(count, count), lambda built: None
    kept = whole.needed()
    if kept < count:
        # json.dumps, not canonical JSON: published configs hold Infinity (Mamba's step limit).
        write_text(path, json.dumps(keep_leading(config, kept), indent=2) + "\n")
    return Cut(kept, count, len(set(whole.kinds))), check_cut(whole, kept)
