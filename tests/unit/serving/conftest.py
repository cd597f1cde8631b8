from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .make import COMMIT, write_model


@pytest.fixture
def in_cache(tmp_path: Path) -> Callable[..., Path]:
    """Put a model into the cache under tmp_path/results, as if it had been fetched."""

    def put(repo_id: str, config: dict[str, Any], commit: str = COMMIT) -> Path:
        folder = tmp_path / "results/cache/models" / repo_id.replace("/", "--")
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs/main").write_text(commit + "\n")
        return write_model(folder / commit, config)

    return put
