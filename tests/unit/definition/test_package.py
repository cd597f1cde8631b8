"""Finding helpers in the installed FlashInfer without importing it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kerneldefs.definition import package


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small package in the place of flashinfer."""
    root = tmp_path / "flashinfer"
    (root / "ops").mkdir(parents=True)
    (root / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (root / "enums.py").write_text("class Kind(IntEnum):\n    A = 0\n")
    (root / "ops" / "__init__.py").write_text("from ..enums import Kind\n")
    (root / "ops" / "norm.py").write_text(
        "from . import other\n"
        "from ..enums import Kind as K\n"
        "from .other import helper\n"
        "LIMIT = 3\n"
        "@decorated\n"
        "def _reference(x):\n"
        "    return helper(x)\n"
    )
    (root / "ops" / "other.py").write_text("def helper(x):\n    return x\n")
    caches = (package.root, package._parsed, package._top_level, package._imported_from)
    for cached in caches:
        cached.cache_clear()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(package, "root", lambda: root)
    yield root
    for cached in caches[1:]:
        cached.cache_clear()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_reference", "@decorated\ndef _reference(x):\n    return helper(x)"),
        ("helper", "def helper(x):\n    return x"),
        ("LIMIT", "LIMIT = 3"),
        ("K", "from enum import Enum, IntEnum\n\n\nclass Kind(IntEnum):\n    A = 0"),
        ("math", "import math"),
        ("nowhere", None),
    ],
)
def test_names_are_found_where_the_module_has_them_from(
    fake: Path, name: str, text: str | None
) -> None:
    assert package.definition_of(name, "flashinfer.ops.norm") == text


@pytest.mark.parametrize("module", ["os", "flashinfer.../../etc", "flashinfer.missing", ""])
def test_only_modules_of_the_package_are_read(fake: Path, module: str) -> None:
    assert package.module_path(module) is None
    assert package.definition_of("anything", module) is None


def test_the_installed_package_is_found_without_importing_it() -> None:
    already = "flashinfer" in sys.modules
    assert package.module_path("flashinfer.trace.templates.norm") is not None
    assert ("flashinfer" in sys.modules) == already
