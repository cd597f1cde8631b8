from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.serving.expand import ModelPlan

from .make import COMMIT, MOE, model, plans, write_cookbook, write_model


@pytest.fixture
def in_cache(tmp_path: Path) -> Callable[..., Path]:
    """Put a model into the cache under tmp_path/results, as if it had been fetched."""

    def put(repo_id: str, config: dict[str, Any], commit: str = COMMIT) -> Path:
        folder = tmp_path / "results/cache/models" / repo_id.replace("/", "--")
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs/main").write_text(commit + "\n")
        return write_model(folder / commit, config)

    return put


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., ModelPlan]:
    """Plan one model of 64 experts served as the given entries say."""

    def make(
        served: dict[str, Any], config: dict[str, Any] | None = None, **mapping: Any
    ) -> ModelPlan:
        root = write_cookbook(tmp_path, {"v1.0/m.yaml": [model("M", "o/m", served)]})
        folder = write_model(tmp_path / "model", MOE if config is None else config)
        given = {"model": "m", "cookbook": str(root), "hf_repo_id": str(folder), **mapping}
        return plans(**given)[0]

    return make
