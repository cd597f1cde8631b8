"""A capture's observed calls -> candidates, written as those of FlashInfer's dump are."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from typing import Any

from kerneldefs.capture.observe import ops
from kerneldefs.capture.record import KernelCall
from kerneldefs.definition.candidates import Candidate, Quarantined, source_of
from kerneldefs.definition.collisions import told_apart
from kerneldefs.definition.draft import Draft, Quarantine
from kerneldefs.definition.normalise import Normalised, merged, unite
from kerneldefs.derive.catalogue import Catalogue
from kerneldefs.derive.define import define
from kerneldefs.derive.equivalent import Equivalent, Options, Underivable
from kerneldefs.derive.registry import families_of
from kerneldefs.derive.source import Seen
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.ranksizes import RankSizes

OBSERVED = frozenset(
    value for name, value in vars(ops).items() if name.isupper() and isinstance(value, str)
)


@dataclasses.dataclass(frozen=True)
class Derived:
    """One definition's facts beyond its content, for the classification."""

    family: str
    variant: str
    fi_supported: bool
    fi_trace_template: bool
    routed: bool
    origin: str


def derive(
    config: ServingConfig,
    calls: Iterable[KernelCall],
    catalogue: Catalogue,
    options: Options,
    *,
    op_types: Collection[str] = (),
    source: Seen | None = None,
    predicted: RankSizes | None = None,
) -> Normalised:
    """Return the candidates that follow from observed or predicted calls.

    Const axes are held against `predicted`, what config.json says of a rank.
    A call that no definition can be made of is quarantined with the reason. A variant never takes
    the place of what ran in this config.
    """
    work = _Work(config, catalogue, options, frozenset(op_types), predicted)
    for call in calls:
        if call.op in OBSERVED:
            work.read(call)
    # Names change here and not in `unite`, so that the facts follow them.
    found = told_apart(work.found, lambda item: item.candidate.definition, _Found.put)
    facts = _facts(found)
    candidates, collided = unite([item.candidate for item in found])
    index: dict[str, Any] = {
        "config": config.id,
        "model": config.model,
        "capture": {
            "status": source.status if source else "captured",
            "reason": source.reason if source else "",
        },
        "versions": {
            **(source.versions if source else {}),
            "flashinfer-python": catalogue.release,
        },
        "definitions": {
            candidate.name: {
                "op_type": candidate.definition["op_type"],
                "path": candidate.path,
                "repairs": list(candidate.repairs),
                "sources": [dataclasses.asdict(source) for source in candidate.sources],
                "dumped": [],
                **dataclasses.asdict(facts[candidate.name]),
            }
            for candidate in candidates
        },
        "not_definitions": [],
        "read": sorted(work.ops),
    }
    lost = merged([*work.lost, *collided])
    return Normalised(index, tuple(candidates), tuple(lost))


@dataclasses.dataclass(frozen=True)
class _Found:
    candidate: Candidate
    facts: Derived

    def put(self, definition: Draft) -> _Found:
        candidate = dataclasses.replace(self.candidate, definition=definition)
        return dataclasses.replace(self, candidate=candidate)


def _facts(found: Iterable[_Found]) -> dict[str, Derived]:
    """Return the facts by name; what ran is no variant, whatever else leads to it."""
    facts: dict[str, Derived] = {}
    for item in found:
        known = facts.get(item.candidate.name)
        if known is None or (known.variant and not item.facts.variant):
            facts[item.candidate.name] = item.facts
    return facts


class _Work:
    """The definitions of one config; equal equivalents of many calls are made once."""

    def __init__(
        self,
        config: ServingConfig,
        catalogue: Catalogue,
        options: Options,
        op_types: frozenset[str],
        predicted: RankSizes | None,
    ) -> None:
        self.found: list[_Found] = []
        self.lost: list[Quarantined] = []
        self.ops: set[str] = set()
        self._config, self._catalogue = config, catalogue
        self._options, self._op_types = options, op_types
        self._predicted = predicted
        self._made: dict[str, Candidate | Quarantine] = {}

    def read(self, call: KernelCall) -> None:
        """Add the definitions of one call, or the reason why there is none."""
        self.ops.add(call.op)
        families = families_of(call.op)
        if not families:
            self._lose(call, call.op, "no-family", f"no family reads {call.op}")
        for family in families:  # what one cannot derive, another still may
            try:
                for equivalent in family.equivalents(call, self._options):
                    if not self._op_types or equivalent.op_type in self._op_types:
                        self._add(call, family.name, equivalent)
            except Underivable as error:
                self._lose(call, call.op, error.cause, error.reason)

    def _add(self, call: KernelCall, family: str, equivalent: Equivalent) -> None:
        key = repr((equivalent, call.marks, call.origin))
        if key not in self._made:
            try:
                self._made[key] = define(
                    equivalent, call, self._catalogue, self._config, self._predicted
                )
            except Quarantine as error:
                self._made[key] = error
        made = self._made[key]
        if isinstance(made, Quarantine):
            self._lose(call, equivalent.name, made.cause, made.reason)
            return
        (source,) = made.sources
        here = dataclasses.replace(source, phase=call.phase, layer=call.layer, count=call.count)
        facts = Derived(
            family,
            equivalent.variant,
            equivalent.supported,
            equivalent.template,
            equivalent.routed,
            source.origin,
        )
        self.found.append(_Found(dataclasses.replace(made, sources=(here,)), facts))

    def _lose(self, call: KernelCall, name: str, cause: str, reason: str) -> None:
        self.lost.append(Quarantined(name, cause, reason, (source_of(call),)))
