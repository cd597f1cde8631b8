"""The reproducers in docs/upstream show their faults."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPORTS = sorted(path.stem for path in (ROOT / "docs" / "upstream").glob("[!R]*.md"))
# Runs every report named after it in one process, since importing FlashInfer takes seconds.
RUN = """
import re, sys, traceback
from pathlib import Path
from kerneldefs.capture.registry import _pretended_gpu
for path in sys.argv[1:]:
    for code in re.findall(r"```python\\n(.*?)```", Path(path).read_text(), re.DOTALL):
        try:
            with _pretended_gpu():
                exec(compile(code, path, "exec"), {})
        except BaseException:
            print("FAILED", path, traceback.format_exc(limit=-1))
"""


def test_every_report_is_listed() -> None:
    text = (ROOT / "docs" / "upstream" / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\((\S+)\.md\)", text)) == REPORTS


@pytest.mark.slow
def test_every_reproducer_shows_its_fault() -> None:
    paths = [str(ROOT / "docs" / "upstream" / f"{name}.md") for name in REPORTS]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *paths],
        capture_output=True,
        text=True,
        timeout=600,
        env={"PYTHONPATH": str(ROOT / "scripts"), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "FAILED" not in done.stdout, done.stdout
