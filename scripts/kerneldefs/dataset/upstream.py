"""Drafts of issues for FlashInfer: a template where it has a kernel, a kernel where it has none.

Nothing is posted: the drafts are files, one a kernel, for a person to read, change and send.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerneldefs.dataset.classes import FI_MISSING
from kerneldefs.dataset.union import Staged
from kerneldefs.files import replaced_directory, write_text

LABELS = ("enhancement", "flashinfer-trace")
_API = "fi_api:"
_SIZES = re.compile(r"_(h|kv|d|n|k|N|K|v|q|qk|e|i|topk|s|ps|ckv|kpe)\d+(_.*)?$")


def write_drafts(
    staged: Iterable[Staged], quarantined: Iterable[Mapping[str, Any]], out: Path
) -> int:
    """Write the drafts that a model's definitions give reason for; return how many."""
    drafts = dict(_templates(staged))
    drafts |= dict(_kernels(staged, quarantined))
    with replaced_directory(out) as folder:
        for name, text in sorted(drafts.items()):
            write_text(folder / f"{name}.md", text)
        write_text(folder / "README.md", _index(drafts))
    return len(drafts)


def _index(drafts: Mapping[str, str]) -> str:
    lines = [
        "# Drafts for FlashInfer",
        "",
        "Issues that this model's definitions give reason for. None is posted. Once one stands",
        "somewhere, its link belongs in the file that the setting `requests` names.",
        "",
    ]
    lines += [f"- [{_title(text)}]({name}.md)" for name, text in sorted(drafts.items())]
    return "\n".join(lines) + ("\n" if drafts else "\nThere is none.\n")


def _title(text: str) -> str:
    return text.splitlines()[0].removeprefix("# ")


def family_name(name: str) -> str:
    """Return a definition's name without its sizes.

    >>> family_name("mamba_ssu_decode_h16_d64_s128_ng1")
    'mamba_ssu_decode'
    """
    return _SIZES.sub("", name)


def _templates(staged: Iterable[Staged]) -> Iterable[tuple[str, str]]:
    """Yield a draft for each kernel of FlashInfer that has no true trace template."""
    groups: dict[str, list[Staged]] = {}
    for item in staged:
        about = item.about
        if about.get("fi_supported") and not about.get("fi_trace_template"):
            groups.setdefault(family_name(item.name), []).append(item)
    for family, items in groups.items():
        example = min(items, key=lambda item: item.name)
        yield f"template-{family}", _template_text(family, example, items)


def _api_of(item: Staged) -> str:
    tags = (tag for tag in item.definition["tags"] if tag.startswith(_API))
    return next((tag.removeprefix(_API) for tag in tags), "")


def _template_text(family: str, example: Staged, items: list[Staged]) -> str:
    api, definition = _api_of(example), example.definition
    return "\n".join(
        [
            f"# Trace template for {api}: {family}",
            "",
            f"Labels: {', '.join(f'`{label}`' for label in LABELS)}",
            "",
            "## What is needed",
            "",
            f"`{api}` has no trace template that describes this call, so its dump is absent",
            "or names other sizes. A template needs these axes and tensors:",
            "",
            *_schema(definition),
            "",
            "## A definition made by hand",
            "",
            f"`{definition['name']}`: {definition.get('description', '')}",
            "",
            "```python",
            definition["reference"].rstrip("\n"),
            "```",
            "",
            "## Acceptance",
            "",
            f"- [ ] `fi_trace` of `{api}` on a call of these shapes gives a definition of op_type "
            f"`{definition['op_type']}`.",
            "- [ ] Its const axes have the sizes of the call, and its name is built from them.",
            "- [ ] Its reference takes the inputs in order and returns the outputs.",
            "- [ ] The reference agrees with the kernel on random inputs.",
            f"- [ ] It covers {', '.join(sorted(f'`{item.name}`' for item in items))}.",
            "",
        ]
    )


def _schema(definition: Mapping[str, Any]) -> list[str]:
    rows = ["| name | what | shape | dtype |", "| --- | --- | --- | --- |"]
    for side in ("inputs", "outputs"):
        for name, spec in definition[side].items():
            shape = "scalar" if spec["shape"] is None else ", ".join(spec["shape"])
            rows.append(f"| `{name}` | {side[:-1]} | {shape} | {spec['dtype']} |")
    axes = [
        f"`{name}` ({'var' if axis['type'] == 'var' else axis.get('value')})"
        for name, axis in definition["axes"].items()
    ]
    return [f"Axes: {', '.join(axes)}.", "", *rows]


def _kernels(
    staged: Iterable[Staged], quarantined: Iterable[Mapping[str, Any]]
) -> Iterable[tuple[str, str]]:
    """Yield a request for each kernel that FlashInfer lacks."""
    for item in staged:
        if item.about.get("class") == FI_MISSING:
            yield f"kernel-{family_name(item.name)}", _kernel_text(item)
    for row in quarantined:
        if row["cause"] == "fi-missing":
            name = re.sub(r"\W+", "-", row["name"]).strip("-").lower()
            yield f"kernel-{name}", _request(row["name"], [row["reason"]])


def _kernel_text(item: Staged) -> str:
    definition = item.definition
    about = [
        f"`{definition['name']}`: {definition.get('description', '')}",
        "",
        *_schema(definition),
        "",
        "```python",
        definition["reference"].rstrip("\n"),
        "```",
    ]
    return _request(family_name(item.name), about)


def _request(name: str, about: list[str]) -> str:
    return "\n".join(
        [
            f"# Kernel request: {name}",
            "",
            f"Labels: {', '.join(f'`{label}`' for label in LABELS)}",
            "",
            "A model that SGLang serves calls this, and FlashInfer has no kernel for it.",
            "",
            *about,
            "",
        ]
    )
