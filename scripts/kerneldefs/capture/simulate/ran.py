"""Which layer classes of a model ran while it was asked the probe."""

from __future__ import annotations

import re
from typing import Any

import torch

from kerneldefs.capture.simulate.allowed import why_not_run

_CONTAINERS = (torch.nn.ModuleList, torch.nn.ModuleDict, torch.nn.Sequential, torch.nn.Identity)
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


class Ran:
    """Notes every module whose forward ran."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._classes: set[type] = set()
        torch.nn.modules.module.register_module_forward_pre_hook(self._note)

    def _note(self, module: torch.nn.Module, arguments: Any) -> None:
        self._classes.add(type(module))

    def missing(self) -> dict[str, dict[str, Any]]:
        """Return the classes that never ran: where they stand, and why none had to."""
        paths: dict[type, set[str]] = {}
        for path, module in self._model.named_modules():
            if module is self._model:  # its forward is called as a method, which no hook sees
                continue
            if type(module) not in self._classes and not isinstance(module, _CONTAINERS):
                paths.setdefault(type(module), set()).add(_NUMBER.sub("N", path))
        return {
            cls.__qualname__: {"modules": sorted(at), "why": why_not_run(cls.__qualname__, at)}
            for cls, at in sorted(paths.items(), key=lambda item: item[0].__qualname__)
        }


def unexplained(missing: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for every class that did not run without a listed reason."""
    return [
        f"no {cls} ran ({', '.join(entry['modules'][:3])}), and nothing says why"
        for cls, entry in missing.items()
        if entry["why"] is None
    ]
