"""A model's part of flashinfer-bench: rows of docs/model_coverage.mdx, modules of models.ts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.dataset.stage import CONFLICT
from kerneldefs.page.matrix import rows_of as rows_of_matrix
from kerneldefs.publish.facts import Model

# The marks of the coverage document, by what the dataset has.
WORKLOAD, DEFINED, UNMAPPED = "✅", "🟡", "—"
_STACK = "N"  # stands for a layer's number in a module path
SAMPLER = "sampler"  # what is called outside of any layer


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a model's table."""

    definition: str
    op_type: str
    status: str

    def line(self) -> str:
        """Return it as Markdown."""
        name = self.definition if self.status == UNMAPPED else f"`{self.definition}`"
        return f"| {name} | {self.op_type} | {self.status} |"


def rows_of(model: Model, dataset: Path) -> list[Row]:
    """Return a row for each definition, under the dataset's name, and for each call without."""
    rows = []
    for item in _present(model.report):
        name = item.get("dataset_name") or item["name"]
        workloads = dataset / "workloads" / item["op_type"] / f"{name}.jsonl"
        split = [tag[3:] for tag in item.get("tags", ()) if tag.startswith("tp:")]
        label = item["op_type"] + "".join(f" TP={size}" for size in split if size != "1")
        rows.append(Row(name, label, WORKLOAD if workloads.exists() else DEFINED))
    rows += [
        Row(row.name, row.family, DEFINED if row.item.get("cause") == CONFLICT else UNMAPPED)
        for row in rows_of_matrix(model.report)
        if row.statuses in (["quarantined"], ["missing"])
    ]
    return sorted(rows, key=lambda row: (row.op_type, row.definition))


def summary_row(model: Model, rows: Iterable[Row]) -> str:
    """Return the model's line of the document's summary."""
    statuses = {row.status for row in rows}
    word = f"{WORKLOAD} Fully covered" if statuses == {WORKLOAD} else f"{DEFINED} Partial"
    return f"| {model.title} | {model.architecture} | {word} |"


def models_entry(model: Model) -> str:
    """Return the model's entry of models.ts, its modules as the captures saw them."""
    modules = _modules(model)
    lines = [
        "  {",
        f"    id: {json.dumps(model.slug)},",
        f"    name: {json.dumps(model.title)},",
        f"    description: {json.dumps(f'{model.title}: {model.architecture}.')},",
        "    modules: {",
    ]
    for name, module in modules.items():
        lines += [f"      {_key(name)}: {{", f"        count: {module['count']},"]
        if module["parent"]:
            lines.append(f"        parent: {json.dumps(module['parent'])},")
        names = [f"          {json.dumps(one)}," for one in sorted(module["definitions"])]
        lines.append(f'        type: "{"block" if module["children"] else "layer"}",')
        lines += (
            ["        definitions: [", *names, "        ],"]
            if names
            else ["        definitions: [],"]
        )
        lines.append("      },")
    return "\n".join([*lines, "    },", "  },", ""])


def _present(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    staged = {item["name"] for item in report["definitions"]}
    return [
        *report["definitions"],
        *(row for row in report["existing"] if row["name"] not in staged),
    ]


def _modules(model: Model) -> dict[str, dict[str, Any]]:
    """Return the modules by a name of their own, parents first."""
    paths: dict[tuple[str, ...], set[str]] = {}
    for item in _present(model.report):
        name = item.get("dataset_name") or item["name"]
        for sources in item.get("sources", {}).values():
            for source in sources:
                paths.setdefault(_path(source["layer"]), set()).add(name)
    every = sorted({path[:end] for path in paths for end in range(1, len(path) + 1)})
    names: dict[tuple[str, ...], str] = {}
    modules: dict[str, dict[str, Any]] = {}
    for path in every:
        own = path[-1]
        names[path] = own if own not in modules else "_".join(path[-2:])
        parent = names.get(path[:-1], "")
        if parent:
            modules[parent]["children"] += 1
        modules[names[path]] = {
            "count": model.layers if "layers" in path and model.layers else 1,
            "parent": parent,
            "children": 0,
            "definitions": paths.get(path, set()),
        }
    return modules


def _path(layer: str) -> tuple[str, ...]:
    words = [word for word in layer.split(".") if word and word != _STACK]
    return tuple(words) or (SAMPLER,)


def _key(name: str) -> str:
    return name if name.isidentifier() else json.dumps(name)
