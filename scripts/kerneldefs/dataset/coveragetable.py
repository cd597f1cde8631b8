"""The table of docs/coverage.md: model path x architecture -> definitions, or the reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kerneldefs.dataset.coverage import Outcome, Trial, Trials

FORCED = "flashinfer"
_MARKS = {"refused": "R", "failed": "F"}
_RELEASES = ("sglang", "flashinfer-python", "torch")
_NOT_TRIED = "not tried"


@dataclasses.dataclass(frozen=True, order=True)
class _Row:
    """One line: a model served in one way, on every architecture, with and without `FORCED`."""

    repo_id: str
    served: str  # the config's id without hardware and backend, e.g. "tp8-ep4-fp8"
    sibling: str


Pair = tuple[Trial, Outcome | None]
Column = tuple[str, bool]  # architecture, and whether `FORCED`


def as_markdown(trials: Trials, outcomes: Mapping[int, Outcome], command: str) -> str:
    """Return the document. `outcomes` are by a trial's place; a missing one was not tried yet."""
    pairs = [(trial, outcomes.get(place)) for place, trial in enumerate(trials.trials)]
    reasons = _Reasons(outcome for _, outcome in pairs)
    more = [pair for pair in pairs if pair[0].config.arch in trials.further]
    main = [pair for pair in pairs if pair[0].config.arch not in trials.further]
    alone = [pair for pair in main if not pair[0].in_cookbook]
    served = [pair for pair in main if pair[0].in_cookbook]
    sections = [
        _head(pairs, command),
        _table("At TP 1, without further arguments", alone, reasons),
        _table("As the cookbook serves them", served, reasons),
        _table("On further architectures: a sample, and what the cookbook serves", more, reasons),
        "\n".join(["## Reasons", "", *reasons.lines()]),
        _unusable(trials.unusable),
        _without(trials.without),
        _op_types(pairs),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _column_order(place: Column) -> tuple[int, bool]:
    return int(place[0].removeprefix("sm_")), not place[1]


class _Reasons:
    """Why nothing was captured: each reason once, by a mark that the cells show."""

    def __init__(self, outcomes: Iterable[Outcome | None]) -> None:
        found = [(o.status, o.reason) for o in outcomes if o is not None and o.status in _MARKS]
        self._marks: dict[tuple[str, str], str] = {}
        for status, letter in _MARKS.items():
            reasons = sorted({reason for one, reason in found if one == status})
            for number, reason in enumerate(reasons, 1):
                self._marks[status, reason] = f"{letter}{number}"

    def mark(self, outcome: Outcome) -> str:
        """Return a cell's mark of its reason."""
        return self._marks[outcome.status, outcome.reason]

    def lines(self) -> Iterator[str]:
        """Yield the list that explains the marks."""
        for (status, reason), mark in self._marks.items():
            yield f"- **{mark}** {status}: {reason}"


_INTRODUCTION = """\
# Coverage

Made by one command, from captures of this project's own:

```bash
# needs a network
{command}
```

Releases: {releases}.

| | |
| --- | --- |
| models with a config.json at hand | {models}, of them {borrowed} through a sibling's |
| models with definitions | {with_definitions} |
| cells of the tables, of which tried | {tried} of {pairs} |
| captured, with definitions | {captured} |
| refused, by SGLang or a library that it asks | {refused} |
| failed | {failed} |

A cell is the number of clean definitions of what FlashInfer was called for and, in brackets, of
their op_types (those derived from other calls come on top in a run, and are not counted); or the
mark of the reason why there are none, listed below. `flashinfer` is that attention backend, forced;
`own` is what the cookbook entry names, else SGLang's own choice. A model after "as" is the sibling
whose config.json was read and captured: published with the same figures, and never staged under the
other's name."""


def _head(pairs: Sequence[Pair], command: str) -> str:
    tried = [outcome for _, outcome in pairs if outcome is not None]
    statuses = [outcome.status for outcome in tried]
    captured = [trial.repo_id for trial, o in pairs if o is not None and o.status == "captured"]
    return _INTRODUCTION.format(
        command=command,
        releases="; ".join(_releases(tried)) or "none, since nothing was tried",
        models=len({trial.repo_id for trial, _ in pairs}),
        borrowed=len({trial.repo_id for trial, _ in pairs if trial.sibling}),
        with_definitions=len(set(captured)),
        tried=len(tried),
        pairs=len(pairs),
        **{status: statuses.count(status) for status in ("captured", *_MARKS)},
    )


def _releases(tried: Iterable[Outcome]) -> list[str]:
    """Return what the captures ran with, each set of releases once."""
    found = {
        ", ".join(f"{name} {outcome.versions[name]}" for name in _RELEASES)
        for outcome in tried
        if all(name in outcome.versions for name in _RELEASES)
    }
    return sorted(found)


def _table(title: str, pairs: Iterable[Pair], reasons: _Reasons) -> str:
    rows: dict[_Row, dict[Column, Pair]] = {}
    for pair in pairs:
        trial = pair[0]
        row = _Row(trial.repo_id, trial.served, trial.sibling or "")
        column = (trial.config.arch, trial.config.attention_backend == FORCED)
        rows.setdefault(row, {})[column] = pair
    if not rows:
        return ""
    columns = sorted({place for cells in rows.values() for place in cells}, key=_column_order)
    names = [f"{arch} {FORCED if forced else 'own'}" for arch, forced in columns]
    lines = [f"## {title}", "", f"| model | served as | {' | '.join(names)} |"]
    lines.append("| --- | --- |" + " --- |" * len(columns))
    for row in sorted(rows):
        model = f"{row.repo_id} as {row.sibling}" if row.sibling else row.repo_id
        cells = [_cell(rows[row].get(column), reasons) for column in columns]
        lines.append(f"| {model} | {row.served} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(found: Pair | None, reasons: _Reasons) -> str:
    if found is None:
        return ""
    outcome = found[1]
    if outcome is None:
        return _NOT_TRIED
    if outcome.status in _MARKS:
        return reasons.mark(outcome)
    return f"{sum(outcome.definitions.values())} ({len(outcome.definitions)})"


def _unusable(unusable: Mapping[str, str]) -> str:
    if not unusable:
        return ""
    lines = "\n".join(f"- {repo_id}: {why}" for repo_id, why in sorted(unusable.items()))
    return f"## Models whose config.json says too little\n\n{lines}"


def _without(without: Mapping[str, str]) -> str:
    if not without:
        return ""
    names = "\n".join(f"- {repo_id}" for repo_id in sorted(without))
    return (
        f"## Cookbook models without a config.json at hand\n\n"
        f"{len(without)} models, which a machine with a network fetches:\n\n{names}"
    )


def _op_types(pairs: Iterable[Pair]) -> str:
    """How many models have definitions of each op_type, by architecture."""
    models: dict[str, dict[str, set[str]]] = {}
    for trial, outcome in pairs:
        for op_type in outcome.definitions if outcome is not None else ():
            by_arch = models.setdefault(op_type, {})
            by_arch.setdefault(trial.config.arch, set()).add(trial.repo_id)
    archs = sorted({arch for found in models.values() for arch in found})
    if not models:
        return ""
    lines = ["## Models by op_type", "", f"| op_type | {' | '.join(archs)} |"]
    lines.append("| --- |" + " --- |" * len(archs))
    for op_type, found in sorted(models.items()):
        counts = [str(len(found.get(arch, ()))) for arch in archs]
        lines.append(f"| {op_type} | {' | '.join(counts)} |")
    return "\n".join(lines)
