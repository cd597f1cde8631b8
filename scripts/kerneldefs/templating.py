"""Text from templates: the same settings wherever a page or a pull request is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kerneldefs import __version__


def renderer(folder: Path, *, markup: bool, **names: Any) -> Callable[..., str]:
    """Return `render(template, **context)` for the templates of a folder.

    `markup` escapes what is put into HTML; `names` and the version are known to every template. A
    name that a template uses and nobody gave is an error.
    """
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=markup,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(version=__version__, **names)

    def render(template: str, **context: Any) -> str:
        return environment.get_template(template).render(**context)

    return render
