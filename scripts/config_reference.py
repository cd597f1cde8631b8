"""Print docs/configuration.md: every setting, from the schema that settings are checked against.

python scripts/config_reference.py > docs/configuration.md
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from kerneldefs.cli import run
from kerneldefs.serving.settings import schema

HEAD = """\
# Configuration reference

Made by `scripts/config_reference.py` from `config/schemas/config.schema.json`; edit that. What each
key does is explained, with an example, in [config/README.md](../config/README.md).

| key | default | takes | meaning |
| --- | --- | --- | --- |
"""


def reference() -> str:
    """Return the whole document."""
    rows = [_row(key, entry) for key, entry in schema()["properties"].items()]
    return HEAD + "".join(rows)


def _row(key: str, entry: dict[str, Any]) -> str:
    default = entry["default"]
    if isinstance(default, list):
        default = ", ".join(map(str, default))
    elif isinstance(default, bool):
        default = json.dumps(default)
    shown = "empty" if default in (None, "") else f"`{default}`"
    anchor = f"[`{key}`](../config/README.md#{key})"
    cells = (anchor, shown, entry["x-accepts"], entry["description"])
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def main() -> int:
    """Print the document."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(reference(), end="")
    return 0


if __name__ == "__main__":
    run(main)
