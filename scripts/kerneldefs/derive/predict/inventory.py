"""The inventory of a model: what its serving configs would be seen to call, and its definitions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.equivalent import Equivalent, Options, Underivable
from kerneldefs.derive.predict.blocks import BLOCKS
from kerneldefs.derive.predict.calls import Subject, in_other_layers
from kerneldefs.derive.registry import families_of
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.expected import expected
from kerneldefs.serving.modelconfig import ModelConfig


@dataclasses.dataclass(frozen=True)
class Predicted:
    """One predicted definition name, or a layer that has none, with the reason."""

    name: str
    family: str
    op_type: str
    layer: str
    variant: str = ""
    api: str = ""
    reason: str = ""


def predicted_calls(model: ModelConfig, config: ServingConfig) -> Iterator[KernelCall]:
    """Yield the calls that config.json predicts for one rank of a serving config."""
    subject = Subject.of(model, config, expected(model, config))
    for block in BLOCKS:
        for call in block(subject):
            yield call
            yield from in_other_layers(subject, call)


def inventory(calls: Iterable[KernelCall], options: Options) -> list[Predicted]:
    """Return the definitions that calls lead to, by name; each name once, what ran before variants.

    Works on observed calls as well: both sets come of the same families.
    """
    rows: dict[tuple[str, str], Predicted] = {}
    for call in calls:
        for family in families_of(call.op):
            try:
                for equivalent in family.equivalents(call, options):
                    _keep(rows, _row(family.name, equivalent, call.layer))
            except Underivable as error:
                row = Predicted(error.cause, call.op, "", call.layer, reason=error.reason)
                rows.setdefault((error.cause, error.reason), row)
    return sorted(rows.values(), key=lambda row: (row.reason != "", row.family, row.name))


def _row(family: str, equivalent: Equivalent, layer: str) -> Predicted:
    return Predicted(
        equivalent.name, family, equivalent.op_type, layer, equivalent.variant, equivalent.api
    )


def _keep(rows: dict[tuple[str, str], Predicted], row: Predicted) -> None:
    known = rows.get((row.name, ""))
    if known is None or (known.variant and not row.variant):
        rows[(row.name, "")] = row
