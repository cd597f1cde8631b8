"""References run, in processes of their own: their text comes from JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerneldefs.definition.own import REFERENCES
from kerneldefs.definition.replaced import REPLACED
from kerneldefs.definition.variants import ATTENTION

from .conftest import Dump
from .test_repair import NAMES

HERE = Path(__file__).parent


def run(script: str, argument: Path) -> Any:
    command = [sys.executable, str(HERE / script), str(argument)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return json.loads(done.stdout)


def test_every_clean_definition_runs_as_it_declares(
    dumps: Callable[[str], Dump], tmp_path: Path
) -> None:
    definitions = {name: dumps(name).repaired().definition for name in NAMES}
    path = tmp_path / "definitions.json"
    path.write_text(json.dumps(definitions))
    assert {name: found for name, found in run("run_references.py", path).items() if found} == {}


def test_our_references_agree_with_independent_ones() -> None:
    compared = run("compare_references.py", REFERENCES)
    assert {what: gap for what, gap in compared["exact"].items() if gap > 1e-5} == {}
    # 20,000 draws: five standard deviations of a share are below 0.018
    assert {what: gap for what, gap in compared["counted"].items() if gap > 0.02} == {}
    assert len(compared["exact"]) > 20


def test_every_reference_in_the_place_of_flashinfers_is_compared() -> None:
    folder = HERE / "execution"
    files = [HERE / "compare_references.py", folder / "families.py", folder / "own_cases.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    ours = {row.reference for row in (*REPLACED.values(), *ATTENTION.values())} | {"gdn_decode_kv"}
    assert [name for name in sorted(ours) if f'"{name}"' not in text] == []
