"""The documents say what is true: settings, messages, links, versions."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import config_reference
import pytest
import yaml
from kerneldefs import __version__

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "config/README.md"])
# Messages in docs/troubleshooting.md that are Snakemake's.
FOREIGN = {"Nothing to be done"}


def test_configuration_reference_is_that_of_the_schema() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    assert text == config_reference.reference(), (
        "run python scripts/config_reference.py > docs/configuration.md"
    )


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{path.name} links to {target}"
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ +(.+)$", file.read_text(), re.MULTILINE)
            known = {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}
            assert anchor in known, f"{path.name} links to {target}"


def strings(path: Path) -> set[str]:
    """Return the texts that a module holds, those of one f-string a text each."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {
        node.value for node in nodes if isinstance(node, ast.Constant) and type(node.value) is str
    }


def test_messages_of_the_troubleshooting_page_exist() -> None:
    said = set().union(*(strings(path) for path in (ROOT / "scripts").rglob("*.py")))
    text = (ROOT / "docs/troubleshooting.md").read_text()
    messages = set(re.findall(r"^\*\*`([^`]+)`", text, re.MULTILINE)) - FOREIGN
    assert len(messages) > 15
    for message in messages:
        for part in filter(None, re.split(r"\.\.\.|'\.\.\.'", message)):
            assert any(part.strip(" ;'") in one for one in said), f"nothing says {part!r}"


def test_every_command_teaches_itself() -> None:
    for path in sorted((ROOT / "scripts").glob("*.py")):
        described = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert len(described.split()) > 15, f"{path.name} says too little about itself"


def test_versions_are_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__


def test_commits_are_checked_by_the_tools_of_make_lint() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    commands = {hook["entry"].removesuffix(" --force-exclude") for hook in repository["hooks"]}
    lint = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    for command in commands:
        assert command.replace(".venv/bin", "$(BIN)") in lint, command


def test_what_others_read_is_well_formed() -> None:
    catalog = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert catalog["usage"]["software-stack-deployment"]["conda"] is True
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == yaml.safe_load((ROOT / "CITATION.cff").read_text())["license"]
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert any(step.get("run") == "bash .ci/run" for step in job["steps"])
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        assert isinstance(yaml.safe_load(path.read_text()), dict)
