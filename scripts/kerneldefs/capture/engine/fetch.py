"""What GPU jobs need and may not fetch themselves: a model's weights, and FlashInfer's cubins."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

from kerneldefs.capture.engine.environment import cache_home
from kerneldefs.capture.engine.weights import INDEX, SUFFIX, check_same_model, read_weights
from kerneldefs.capture.flashinfer_import import downloads
from kerneldefs.capture.versions import installed_versions
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json
from kerneldefs.serving import hub
from kerneldefs.serving.modelconfig import CONFIG, read_model_config

# Architectures whose kernels come as cubins of TensorRT-LLM, which no compiler makes here.
CUBIN_ARCHS = ("sm_100", "sm_103")
_CUBIN_DIR = "FLASHINFER_CUBIN_DIR"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def read_fetched(files: list[Path]) -> dict[str, Path]:
    """Return the folders that `fetch_weights` and `fetch_cubins` wrote down, by what is in them.

    Raises KerneldefsError where one of them is no longer there.
    """
    found: dict[str, Path] = {}
    for path in files:
        for what in ("weights", "cubins"):
            folder = read_json(path).get(what)
            if folder is None:
                continue
            if not Path(folder).is_dir():
                raise KerneldefsError(
                    f"{folder}: the {what} that were fetched are gone; delete {path}, and run again"
                )
            found[what] = Path(folder)
    return found


def fetch_weights(model_config: Path, repo_id: str, revision: str) -> dict[str, Any]:
    """Return where a model's weights are, complete; fetches them into the hub's own cache.

    A directory that was given as the model has its weights itself; `revision` "local" says so.
    """
    if revision == "local":
        found = read_weights(model_config)
        return {"weights": str(model_config.resolve()), "revision": revision, "bytes": found.size}
    from huggingface_hub import snapshot_download

    wanted = revision if _COMMIT.fullmatch(revision) else hub.DEFAULT_REVISION
    try:
        folder = Path(
            snapshot_download(
                repo_id,
                revision=wanted,
                allow_patterns=[CONFIG, f"*{SUFFIX}", INDEX],
                ignore_patterns=["*/*"],  # other formats, and what belongs to other libraries
            )
        )
    except Exception as error:
        raise hub.explained(error, repo_id, wanted) from None
    planned, own = (read_model_config(path, repo_id, "") for path in (model_config, folder))
    check_same_model(planned.language, own.language, repo_id)
    found = read_weights(folder)
    return {"weights": str(folder), "revision": folder.name, "bytes": found.size}


def fetch_cubins() -> dict[str, Any]:
    """Return where the installed FlashInfer's cubins are, complete; fetches what is missing.

    `cubins` is None where the package flashinfer-cubin has them, which FlashInfer finds by itself.
    """
    if importlib.util.find_spec("flashinfer_cubin") and not os.environ.get(_CUBIN_DIR):
        return {"cubins": None}
    release = installed_versions()["flashinfer-python"]
    folder = Path(os.environ.get(_CUBIN_DIR) or cache_home() / "cubins" / f"flashinfer-{release}")
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[_CUBIN_DIR] = str(folder)  # read when FlashInfer is imported
    os.environ.setdefault("FLASHINFER_WORKSPACE_BASE", str(cache_home()))  # for its log
    try:
        downloads().download_artifacts()
        missing = _missing(folder)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise KerneldefsError(
            f"FlashInfer {release}: its cubins could not be fetched ({reason}); connect to the "
            "network, or install the package flashinfer-cubin of the same release"
        ) from None
    if missing:
        raise KerneldefsError(
            f"FlashInfer {release}: {len(missing)} files that its checksums name were not fetched, "
            f"among them {missing[0]}; run again"
        )
    return {"cubins": str(folder)}


def _missing(folder: Path) -> list[str]:
    """Ask for what FlashInfer's own download leaves out; return what is not to be had.

    It takes a folder whose listing fails for an empty one, and fetches no libraries.
    """
    from flashinfer.jit.cubin_loader import get_artifact

    missing = []
    for manifest in sorted(folder.rglob("checksums.txt")):
        for line in manifest.read_text(encoding="utf-8").splitlines():
            sha256, name = line.split()
            path = str((manifest.parent / name).relative_to(folder))
            if not get_artifact(path, sha256):
                missing.append(path)
    return missing
