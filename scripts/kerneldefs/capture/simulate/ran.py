"""Which layer classes of a model ran while it was asked the probe."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

import torch

from kerneldefs.capture.record import KernelCall
from kerneldefs.capture.simulate.allowed import why_not_run

_CONTAINERS = (torch.nn.ModuleList, torch.nn.ModuleDict, torch.nn.Sequential, torch.nn.Identity)
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


class Ran:
    """Notes every module whose forward ran.

    A module of which a part ran has run too: some models call forward() as a method, which no hook
    sees.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._ran: set[int] = set()
        torch.nn.modules.module.register_module_forward_pre_hook(self._note)

    def _note(self, module: torch.nn.Module, arguments: Any) -> None:
        self._ran.add(id(module))

    def _classes(self) -> set[type]:
        return {
            type(module)
            for module in self._model.modules()
            if any(id(part) in self._ran for part in module.modules())
        }

    def missing(self) -> dict[str, dict[str, Any]]:
        """Return the classes that never ran: where they stand, and why none had to."""
        paths: dict[type, set[str]] = {}
        ran = self._classes()
        for path, module in self._model.named_modules():
            if type(module) not in ran and not isinstance(module, _CONTAINERS):
                paths.setdefault(type(module), set()).add(_NUMBER.sub("N", path))
        return {
            cls.__qualname__: {"modules": sorted(at), "why": why_not_run(cls.__qualname__, at)}
            for cls, at in sorted(paths.items(), key=lambda item: item[0].__qualname__)
        }


def unexplained(missing: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for every class that did not run without a listed reason."""
    return [_unexplained(cls, at["modules"]) for cls, at in missing.items() if at["why"] is None]


def _unexplained(cls: str, paths: list[str]) -> str:
    return f"no {cls} ran ({', '.join(paths[:3])}), and nothing says why"


def in_doubt(calls: Iterable[KernelCall], missing: dict[str, dict[str, Any]]) -> list[KernelCall]:
    """Mark the calls of layers in which a class did not run without a listed reason.

    Those are the calls of the module that holds it, and of what that module holds.
    """
    doubts = [
        (path.rpartition(".")[0], _unexplained(cls, entry["modules"]))
        for cls, entry in missing.items()
        if entry["why"] is None
        for path in entry["modules"]
    ]
    return [
        dataclasses.replace(call, marks=tuple(sorted({*call.marks, *found})))
        if (found := [why for outer, why in doubts if _within(call.layer, outer)])
        else call
        for call in calls
    ]


def _within(path: str, outer: str) -> bool:
    return not outer or path == outer or path.startswith(f"{outer}.")
