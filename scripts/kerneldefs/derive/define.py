"""An equivalent -> a definition, by the repairs and checks that captured calls go through."""

from __future__ import annotations

import dataclasses

from kerneldefs.capture.record import KernelCall
from kerneldefs.definition import crosscheck
from kerneldefs.definition.candidates import Candidate, source_of
from kerneldefs.definition.checks import Subject, errors, run_checks
from kerneldefs.definition.draft import Draft, Quarantine, const_axes
from kerneldefs.definition.evidence import gather
from kerneldefs.definition.repair import Repaired, mended, repair
from kerneldefs.definition.tags import config_tags, with_tags
from kerneldefs.derive.catalogue import Catalogue
from kerneldefs.derive.equivalent import PAGE_SIZE, Equivalent
from kerneldefs.serving.config import ServingConfig
from kerneldefs.serving.ranksizes import RankSizes

DERIVED, PREDICTED = "derived", "predicted"
ORIGINS = {"observed": DERIVED, PREDICTED: PREDICTED}


def define(
    equivalent: Equivalent,
    seen: KernelCall,
    catalogue: Catalogue,
    config: ServingConfig,
    predicted: RankSizes | None = None,
) -> Candidate:
    """Return the definition of one equivalent of a call; raises Quarantine where there is none.

    Const axes are held against what the call said, and `predicted`, config.json's word of a rank.
    """
    call = _call(equivalent, seen)
    if seen.marks:
        raise Quarantine("marked", f"the capture is in doubt of this call: {'; '.join(seen.marks)}")
    if equivalent.own is not None:
        repaired = _by_own_template(equivalent, call)
    else:
        repaired = _by_template(equivalent, call, catalogue)
    crosscheck.require(
        repaired.definition, _as_observed(equivalent, call, seen), repaired.evidence, predicted
    )
    definition = _named(repaired.definition, equivalent)
    if definition["name"] != equivalent.name:
        raise Quarantine(
            "name-mismatch",
            f"the family expects {equivalent.name}, the template gives {definition['name']}",
        )
    tags = [*config_tags(const_axes(definition), config), f"origin:{ORIGINS[seen.origin]}"]
    tags += [f"variant:{equivalent.variant}"] if equivalent.variant else []
    definition = with_tags(definition, tags)
    failed = errors(run_checks(Subject(definition)))
    if failed:
        reasons = "; ".join(dict.fromkeys(finding.message for finding in failed))
        raise Quarantine(f"check-{failed[0].check}", reasons)
    return Candidate(definition, repaired.repairs, (source_of(call),))


def _call(equivalent: Equivalent, seen: KernelCall) -> KernelCall:
    """Return the call that FlashInfer would have seen in the place of an observed one."""
    return KernelCall(
        op=equivalent.api or seen.op,
        tensors=dict(equivalent.tensors),
        scalars=dict(equivalent.scalars),
        outputs=equivalent.outputs,
        plan=None if equivalent.plan is None else dict(equivalent.plan),
        state=dict(equivalent.state),
        phase=seen.phase,
        layer=seen.layer,
        definition=None,
        template=None,
        marks=(),
        origin=ORIGINS[seen.origin],
        count=seen.count,
    )


def _as_observed(equivalent: Equivalent, call: KernelCall, seen: KernelCall) -> KernelCall:
    """Return the equivalent call with what the observed one said of sizes.

    An equivalent's tensors are what its family made of it, and would confirm the family's own
    mistakes; they only count for what was not observed, e.g. the one group of routing without any.
    Of a page size variant the observed page size says nothing.
    """
    other = {"page_size"} if equivalent.variant == PAGE_SIZE else set()
    said = {k: v for k, v in seen.scalars.items() if v is not None and k not in other}
    return dataclasses.replace(call, scalars={**equivalent.sizes, **call.scalars, **said})


def _by_template(equivalent: Equivalent, call: KernelCall, catalogue: Catalogue) -> Repaired:
    entry = catalogue.find(equivalent.api, equivalent.prefix)
    if entry is None or entry.dumped is None or entry.template is None:
        raise Quarantine(
            "no-template",
            f"FlashInfer {catalogue.release} has no template {equivalent.prefix} for "
            f"{equivalent.api}",
        )
    return repair(entry.dumped, call, entry.template, catalogue.release)


def _by_own_template(equivalent: Equivalent, call: KernelCall) -> Repaired:
    own = equivalent.own
    assert own is not None
    evidence = gather(call, own.template(call, equivalent.sizes))
    tags = [f"fi_api:{equivalent.api}"] if equivalent.api else []
    main = equivalent.tensors[equivalent.main]
    return mended(own.draft(tags, main.dtype), evidence, ("own-template",))


def _named(definition: Draft, equivalent: Equivalent) -> Draft:
    """Return the definition with what its name says beyond axes."""
    if equivalent.own is None or not equivalent.suffixes:
        return definition
    return {**definition, "name": "_".join([definition["name"], *equivalent.suffixes])}
