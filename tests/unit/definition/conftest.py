"""What FlashInfer dumps for the calls of cases.py, made from the installed package."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.capture.record import KernelCall, Template
from kerneldefs.definition.draft import Draft
from kerneldefs.definition.repair import Repaired, repair

from .cases import CASES


@dataclasses.dataclass(frozen=True)
class Dump:
    """A call with the JSON that FlashInfer dumped for it and the template's record."""

    dumped: Draft
    call: KernelCall
    template: Template

    def repaired(self, **changes: Any) -> Repaired:
        """Repair it, with some of the call's fields changed."""
        return repair(self.dumped, dataclasses.replace(self.call, **changes), self.template)

    def with_scalars(self, **scalars: Any) -> Repaired:
        """Repair it, with some of the call's scalars changed."""
        return self.repaired(scalars={**self.call.scalars, **scalars})


@pytest.fixture(scope="session")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Dump]:
    """Return the dump of a case by name."""
    out = tmp_path_factory.mktemp("dumps") / "dumps.json"
    script = Path(__file__).with_name("make_dumps.py")
    subprocess.run([sys.executable, str(script), str(out)], check=True)
    data = json.loads(out.read_text())

    @functools.cache
    def get(name: str) -> Dump:
        dumped = data[name]["dumped"]
        template = Template.from_json(data[name]["template"])
        call = dataclasses.replace(CASES[name].call, definition=dumped["name"])
        return Dump(dumped, call, template)

    return get
