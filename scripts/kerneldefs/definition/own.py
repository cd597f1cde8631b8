"""Templates of our own, for what FlashInfer calls but has no true template for.

A template is a schema and a reference under references/, whose text becomes the definition's: the
reference's constants are set to what the call said. The templates themselves are in templates/.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.capture.record import Axis, KernelCall, Slot, Template
from kerneldefs.definition.draft import Draft
from kerneldefs.definition.evidence import Evidence, View
from kerneldefs.definition.source import with_constant

REFERENCES = Path(__file__).with_name("references")
# What a reference takes from the folder of parts, whose text is put in its place; and FlashInfer's
# helpers, which the repair of missing names puts in.
_PART = re.compile(
    r"^from kerneldefs\.definition\.references\.parts\.(\w+) import [^\n]*\n", re.MULTILINE
)
_HELPER = re.compile(r"^from flashinfer\.[\w.]+ import [^\n]*\n", re.MULTILINE)
_IMPORT = re.compile(r"^(?:import|from) [^\n]*\n", re.MULTILINE)

Dims = tuple[str, ...] | str | None  # axes; of a scalar its dtype, None for float32


@dataclasses.dataclass(frozen=True)
class OwnTemplate:
    """An op's schema: axes as (abbreviation in names or None for a var axis, description).

    `params` names the API's parameter of an input where it is another (`name#0` is the first of a
    tuple); those in `optional` may be left out.
    """

    op_type: str
    name_prefix: str
    description: str
    tags: tuple[str, ...]
    axes: Mapping[str, tuple[str | None, str]]
    inputs: Mapping[str, tuple[Dims, str]]
    outputs: Mapping[str, tuple[tuple[str, ...], str | None, str]]  # dims, dtype (None: main's)
    constraints: tuple[str, ...]
    reference: str
    constants: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    params: Mapping[str, str] = dataclasses.field(default_factory=dict)
    optional: tuple[str, ...] = ()
    module: str = ""  # of FlashInfer, whose helpers the reference uses

    def template(self, call: KernelCall, sizes: Mapping[str, int] | None = None) -> Template:
        """Return the schema as a template record of the call's API.

        `sizes` are of const axes that no input shows.
        """
        known = sizes or {}
        return Template(
            api=call.op,
            op_type=self.op_type,
            name_prefix=self.name_prefix,
            module=self.module,
            axes={
                k: Axis(abbrev is not None, abbrev, known.get(k))
                for k, (abbrev, _) in self.axes.items()
            },
            inputs={k: self._slot(k, dims) for k, (dims, _) in self.inputs.items()},
            outputs={
                k: Slot(dims, dtype, None, None, False)
                for k, (dims, dtype, _) in self.outputs.items()
            },
            optional_params=(),
            has_reference=True,
        )

    def _slot(self, key: str, dims: Dims) -> Slot:
        param, _, place = self.params.get(key, "").partition("#")
        shape = None if dims is None or isinstance(dims, str) else dims
        return Slot(shape, None, param or None, int(place) if place else None, key in self.optional)

    def draft(self, tags: list[str], main_dtype: str) -> Draft:
        """Return the definition as a dumper that knew this template would have written it."""
        return {
            "name": self.name_prefix,
            "description": self.description,
            "op_type": self.op_type,
            "tags": [*[t for t in tags if t.startswith("fi_api:")], *self.tags],
            "axes": {
                k: {"type": "var" if abbrev is None else "const"}
                | ({"description": text} if text else {})
                for k, (abbrev, text) in self.axes.items()
            },
            "constraints": list(self.constraints),
            "inputs": {
                k: {"shape": list(dims), "dtype": "unknown", "description": text}
                if isinstance(dims, tuple)
                else {"shape": None, "dtype": dims or "float32", "description": text}
                for k, (dims, text) in self.inputs.items()
            },
            "outputs": {
                k: {"shape": list(dims), "dtype": dtype or main_dtype, "description": text}
                for k, (dims, dtype, text) in self.outputs.items()
            },
            "reference": reference(self.reference, self.constants),
        }


def reference(name: str, constants: Mapping[str, Any]) -> str:
    """Return the text of one of our references with its parts put in and its constants set."""
    text = _with_parts((REFERENCES / f"{name}.py").read_text(encoding="utf-8"))
    for constant, value in constants.items():
        text = with_constant(text, constant, value)
    return text


def _with_parts(text: str) -> str:
    """Return a reference that needs no other file: imports, then parts, then its own functions."""
    texts = [_HELPER.sub("", _PART.sub("", t)) for t in (*_parts(text), text)]
    if len(texts) == 1:
        return texts[0]
    imports = sorted({line for t in texts for line in _IMPORT.findall(t)})
    bodies = [_IMPORT.sub("", t).strip("\n") for t in texts]
    return "".join(imports) + "\n\n" + "\n\n\n".join(bodies) + "\n"


def _parts(text: str) -> list[str]:
    """Return the texts of the parts that a text takes, each once, after those that it takes."""
    found: dict[str, None] = {}
    for name in _PART.findall(text):
        part = (REFERENCES / "parts" / f"{name}.py").read_text(encoding="utf-8")
        found |= dict.fromkeys([*_parts(part), part])
    return list(found)


def no_sizes(evidence: Evidence) -> Mapping[str, int]:
    """Every const axis is one of an input."""
    return {}


@dataclasses.dataclass(frozen=True)
class Retarget:
    """When a call belongs to a template of ours, and how its arguments fill that template.

    `choose` returns the template, None where a call is FlashInfer's own, or raises Quarantine.
    """

    cause: str
    choose: Callable[[Evidence], OwnTemplate | None]
    view: Callable[[Evidence], View]
    main: str  # the input whose dtype the output has
    sizes: Callable[[Evidence], Mapping[str, int]] = no_sizes


def by_name(*understood: str) -> Callable[[Evidence], View]:
    """Return a view of a call whose arguments have the names that the template says."""
    return lambda evidence: View(understood=frozenset(understood))


def always(template: OwnTemplate) -> Callable[[Evidence], OwnTemplate]:
    """Return a choice of one template for every call."""
    return lambda evidence: template
