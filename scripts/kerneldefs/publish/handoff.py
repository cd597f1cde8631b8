"""Pull requests as folders: what to commit, the branch, the title and the body of each.

    handoff/README.md                             what to do with it, and every pull request
    handoff/conflicts.md                          what was not published, with the difference
    handoff/{pull request}/dataset/               files and text for flashinfer-trace
    handoff/{pull request}/flashinfer-bench/      text for flashinfer-bench, and rows to edit
    handoff/flashinfer-bench/                     the model's whole section and models.ts entry

Nothing is committed, pushed or opened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kerneldefs.files import read_json, replaced_directory, write_text
from kerneldefs.publish import coverage
from kerneldefs.publish.facts import Model
from kerneldefs.publish.plan import ADD, CONFLICTS, UNITE, Step
from kerneldefs.templating import renderer

TEMPLATES = Path(__file__).with_name("templates")
GROUPS = ("definition", "op_type", "model")


@dataclasses.dataclass(frozen=True)
class PullRequest:
    """A change to the dataset and its companion to flashinfer-bench."""

    name: str
    title: str
    steps: tuple[Step, ...]

    @property
    def branch(self) -> str:
        """Return the branch's name, in either repository."""
        return f"feat/def-{self.name}"


def write_handoff(
    steps: Sequence[Step], results: Path, dataset: Path, group: str = "definition"
) -> list[PullRequest]:
    """Write one model's handoff folder beside its report; return its pull requests.

    Where nothing is to be handed on, the folder of the last time stays: its pull requests may not
    be open yet.
    """
    report = read_json(results / "report.json")
    model = Model(str(report["model"]), report)
    mine = [step for step in steps if step.model == model.slug]
    requests = pull_requests(mine, model, group)
    conflicts = [step for step in mine if step.kind == CONFLICTS]
    if not requests:
        return []
    rows = coverage.rows_of(model, dataset)
    about = {"model": model, "requests": requests, "conflicts": conflicts, "rows": rows}
    with replaced_directory(results / "handoff") as folder:
        for request in requests:
            _write_request(folder / request.name, request, model, rows, dataset)
        _write(folder / "README.md", "readme.md.j2", about)
        if conflicts:
            _write(folder / "conflicts.md", "conflicts.md.j2", about)
        bench = folder / "flashinfer-bench"
        about["summary"] = coverage.summary_row(model, rows)
        _write(bench / "model_coverage.mdx", "model_coverage.mdx.j2", about)
        write_text(bench / "models.ts", coverage.models_entry(model))
    return requests


def pull_requests(steps: Iterable[Step], model: Model, group: str) -> list[PullRequest]:
    """Return the pull requests: new definitions by group, and one for tags of existing files."""
    groups: dict[str, list[Step]] = {}
    tagged = []
    for step in steps:
        if step.kind == ADD:
            names = {
                "definition": step.name,
                "op_type": f"{model.slug}-{step.path.split('/')[-2]}",
                "model": model.slug,
            }
            groups.setdefault(names[group], []).append(step)
        elif step.kind == UNITE:
            tagged.append(step)
    found = [
        PullRequest(name, f"Add {_what(group, name, found)} of {model.title}", tuple(found))
        for name, found in sorted(groups.items())
    ]
    if tagged:
        title = f"Tag {counted(len(tagged), 'definition')} that {model.title} calls too"
        found.append(PullRequest(f"{model.slug}-tags", title, tuple(tagged)))
    return found


def _what(group: str, name: str, steps: Sequence[Step]) -> str:
    return f"{name}, a kernel" if group == "definition" else counted(len(steps), "kernel")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _write_request(
    folder: Path, request: PullRequest, model: Model, rows: list[coverage.Row], dataset: Path
) -> None:
    items = {item["name"]: item for item in model.report["definitions"]}
    configs = sorted({c for step in request.steps for c in _configs(items, step, model)})
    touched = {step.path.rsplit("/", 1)[-1].removesuffix(".json") for step in request.steps}
    about: dict[str, Any] = {
        "request": request,
        "model": model,
        "items": items,
        "configs": configs,
        "releases": model.releases(configs),
        "rows": [row for row in rows if row.definition in touched],
    }
    for step in request.steps:
        write_text(folder / "dataset" / step.path, step.text)
    _write(folder / "dataset" / "pull_request.md", "dataset.md.j2", about)
    _write(folder / "flashinfer-bench" / "pull_request.md", "bench.md.j2", about)


def _configs(items: Mapping[str, Any], step: Step, model: Model) -> list[str]:
    if step.name in items:
        return list(items[step.name]["configs"])
    rows = [row for row in model.report["existing"] if row["name"] == step.name]
    return [config for row in rows for config in row["configs"]]


_render = renderer(TEMPLATES, markup=False, counted=counted)  # Markdown, read before it is posted


def _write(path: Path, template: str, about: Mapping[str, Any]) -> None:
    write_text(path, _render(template, **about))
