"""FlashInfer's templates as data: one file per release, which deriving needs no import for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from kerneldefs.capture.record import Template
from kerneldefs.definition.draft import Draft
from kerneldefs.definition.evidence import api_of
from kerneldefs.definition.tags import public_api
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json, write_text


@dataclasses.dataclass(frozen=True)
class Entry:
    """One template of FlashInfer, and what the dumper writes for a call of it.

    `dumped` is None where no call could be made up; `why` says why. Sizes in it are no model's.
    """

    api: str  # FlashInfer's own path; "" for a template that no API carries
    prefix: str
    op_type: str
    has_reference: bool
    template: Template | None
    dumped: Draft | None
    why: str


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The templates of one FlashInfer release."""

    release: str
    entries: tuple[Entry, ...]

    def find(self, api: str, prefix: str) -> Entry | None:
        """Return the template with a call of an API, by its public path or a private one."""
        name = api_of(api)
        for entry in self.entries:
            if entry.prefix == prefix and api_of(entry.api) == name and entry.dumped is not None:
                return entry
        return None


def write_catalogue(path: Path) -> Catalogue:
    """Read every template of the installed FlashInfer and write them down; needs torch."""
    from kerneldefs.capture.registry import template_calls
    from kerneldefs.definition.package import installed_version

    rows = []
    for call in template_calls():
        template = dataclasses.asdict(call.template) if call.template else None
        carried = not call.api.startswith("flashinfer.trace.templates.")
        rows.append(
            {
                "api": call.api if carried else "",
                "prefix": call.prefix,
                "op_type": call.template.op_type if call.template else "",
                "has_reference": call.has_reference,
                "template": template,
                "dumped": call.dumped,
                "why": "" if call.dumped else call.source,
            }
        )
    # json.dumps, not canonical JSON: names are built in the order of a template's axes.
    data = {"release": installed_version() or "", "entries": rows}
    write_text(path, json.dumps(data, indent=1) + "\n")
    return read_catalogue(path)


def read_catalogue(path: Path) -> Catalogue:
    """Read a file that `write_catalogue` wrote."""
    data = read_json(path)
    try:
        return Catalogue(data["release"], tuple(_entry(row) for row in data["entries"]))
    except (KeyError, TypeError) as error:
        raise KerneldefsError(
            f"{path}: no catalogue of templates ({error}); make it anew with scripts/templates.py"
        ) from None


def _entry(row: dict[str, Any]) -> Entry:
    template = Template.from_json(row["template"]) if row["template"] else None
    return Entry(**{**row, "template": template})


def public_name(entry: Entry) -> str:
    """Return the public path of the API that carries a template."""
    return public_api(entry.api)
