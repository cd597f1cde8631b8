"""One call and the JSON that FlashInfer dumped for it -> a clean definition, or a quarantine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar

from kerneldefs.capture.record import KernelCall, Template
from kerneldefs.definition.arguments import require_modelled
from kerneldefs.definition.draft import Draft, Quarantine, ordered
from kerneldefs.definition.evidence import Evidence, View, api_of, gather
from kerneldefs.definition.repairs import REPAIRS
from kerneldefs.definition.replaced import denied
from kerneldefs.definition.templates import retarget
from kerneldefs.definition.views import VIEWS

OWN_TEMPLATE = "own-template"
Part = TypeVar("Part")


@dataclasses.dataclass(frozen=True)
class Repaired:
    """A clean definition, the ids of the repairs that changed it, and what they stood on."""

    definition: Draft
    repairs: tuple[str, ...]
    evidence: Evidence


def in_dumped_order(template: Template, dumped: Draft) -> Template:
    """Return the template with axes, inputs and outputs in the order of FlashInfer's dump.

    Names and interfaces depend on the order, and JSON written with sorted keys has lost it.
    """

    return dataclasses.replace(
        template,
        axes=_sorted_as(template.axes, dumped["axes"]),
        inputs=_sorted_as(template.inputs, dumped["inputs"]),
        outputs=_sorted_as(template.outputs, dumped["outputs"]),
    )


def _sorted_as(record: Mapping[str, Part], like: Mapping[str, object]) -> dict[str, Part]:
    return {key: record[key] for key in [*like, *record] if key in record}


def evidence_of(call: KernelCall, template: Template) -> Evidence:
    """Return what a call tells of its template's inputs."""
    read = VIEWS.get(api_of(call.op))
    return gather(call, template, read(call, template) if read else View())


def repair(
    dumped: Draft, call: KernelCall, template: Template, release: str | None = None
) -> Repaired:
    """Return the definition of one call; raises `Quarantine` where it cannot be made true.

    `release` is the FlashInfer release that dumped it; helpers are only taken from the same one.
    """
    if call.marks:
        raise Quarantine("marked", f"the capture is in doubt of this call: {'; '.join(call.marks)}")
    evidence = evidence_of(call, in_dumped_order(template, dumped))
    applied = []
    draft = dumped
    own = retarget(draft, evidence)
    if own is not None:
        draft, evidence, _ = own
        applied.append(OWN_TEMPLATE)
    evidence = dataclasses.replace(evidence, release=release)
    why = None if own else denied(evidence.prefix)
    if why is not None:
        raise Quarantine("reference-denied", f"{evidence.prefix}: {why}")
    return mended(draft, evidence, applied)


def mended(draft: Draft, evidence: Evidence, applied: Sequence[str] = ()) -> Repaired:
    """Return a draft with every repair applied; `applied` are the ids of those before them."""
    done = list(applied)
    if not draft.get("reference"):
        raise Quarantine("no-reference", f"FlashInfer has no reference for {evidence.prefix}")
    require_modelled(evidence)
    for step in REPAIRS:
        renewed = step.apply(draft, evidence)
        if renewed != draft:
            done.append(step.id)
        draft = renewed
    return Repaired(ordered(draft), tuple(done), evidence)
