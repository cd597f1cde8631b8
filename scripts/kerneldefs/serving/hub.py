"""config.json from a model hub, at a commit, kept in a cache so that it is asked for once.

{results}/cache/models/{org}--{name}/refs/{revision}    the commit a branch or tag stood at
{results}/cache/models/{org}--{name}/{commit}/          config.json and what belongs to it
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kerneldefs.errors import KerneldefsError
from kerneldefs.files import replaced_directory, write_text
from kerneldefs.serving.modelconfig import (
    CONFIG,
    QUANT_CONFIG,
    ModelConfig,
    read_model_config,
    remote_code_files,
)

DEFAULT_REVISION = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_INSTEAD = "or give a directory with its config.json as hf_repo_id"


class UnreachableError(KerneldefsError):
    """The hub did not answer: asking it for another repository would be waiting for nothing."""


def cache_folder(results: Path, repo_id: str) -> Path:
    """Return the folder of a repository's cached commits."""
    return results / "cache" / "models" / repo_id.replace("/", "--")


def cached(
    results: Path, repo_id: str, revision: str | None, *, with_code: bool
) -> ModelConfig | None:
    """Return the cached config of a revision, or None where it was not fetched yet.

    `with_code` wants the Python files that config.json's auto_map names as well.
    """
    folder = cache_folder(results, repo_id)
    commit = revision or DEFAULT_REVISION
    if not _COMMIT.fullmatch(commit):
        ref = folder / "refs" / quote(commit, safe="")
        commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else ""
    if not _COMMIT.fullmatch(commit) or not (folder / commit / CONFIG).is_file():
        return None
    config = read_model_config(folder / commit, repo_id, commit)
    needed = remote_code_files(config.data) if with_code else set()
    return config if all((folder / commit / name).is_file() for name in needed) else None


def fetch(
    results: Path,
    repo_id: str,
    revision: str | None,
    *,
    with_code: bool,
    endpoint: str | None = None,
) -> ModelConfig:
    """Fetch a revision's config into the cache; a branch is resolved to its commit and kept.

    `endpoint` is the hub's address, None for the one that huggingface_hub is set to. Raises
    KerneldefsError saying what to do when the repository is gated or missing, the revision does
    not exist or the repository has no config.json; UnreachableError when the hub is out of reach.
    """
    wanted = revision or DEFAULT_REVISION
    folder = cache_folder(results, repo_id)
    try:
        commit, names = _look_up(repo_id, wanted, endpoint)
        with replaced_directory(folder / commit) as target:
            _download(repo_id, commit, _worth_keeping(names, with_code), target, endpoint)
            _check(target, f"{repo_id} at '{wanted}'")
    except KerneldefsError:
        raise
    except Exception as error:
        raise explained(error, repo_id, wanted) from None
    if wanted != commit:
        write_text(folder / "refs" / quote(wanted, safe=""), commit + "\n")
    return read_model_config(folder / commit, repo_id, commit)


def _check(folder: Path, whose: str) -> None:
    """Keep a broken config out of the cache."""
    try:
        read_model_config(folder, "", "")
    except KerneldefsError as error:
        reason = str(error).replace(f"{folder}/", "").partition(";")[0]
        raise KerneldefsError(f"{whose}: its config is broken ({reason}); {_INSTEAD[3:]}") from None


def _look_up(repo_id: str, revision: str, endpoint: str | None) -> tuple[str, list[str]]:
    from huggingface_hub import HfApi  # slow to import, and a cached config needs none of it

    info = HfApi(endpoint=endpoint).model_info(repo_id, revision=revision)
    names = [sibling.rfilename for sibling in info.siblings or []]
    if not info.sha or not _COMMIT.fullmatch(info.sha):
        raise KerneldefsError(f"{repo_id}: the hub names no commit for '{revision}'; {_INSTEAD}")
    if CONFIG not in names:
        raise KerneldefsError(
            f"{repo_id} at '{revision}': has no {CONFIG}, so it is no model that SGLang can load; "
            f"check the repository id, {_INSTEAD}"
        )
    return info.sha, names


def _worth_keeping(names: list[str], with_code: bool) -> list[str]:
    code = [n for n in names if with_code and n.endswith(".py") and "/" not in n]
    return [CONFIG, *(name for name in (QUANT_CONFIG,) if name in names), *sorted(code)]


def _download(
    repo_id: str, commit: str, names: list[str], target: Path, endpoint: str | None
) -> None:
    from huggingface_hub import hf_hub_download

    for name in names:
        hf_hub_download(repo_id, name, revision=commit, local_dir=target, endpoint=endpoint)
    shutil.rmtree(target / ".cache", ignore_errors=True)  # the client's own bookkeeping


def explained(error: Exception, repo_id: str, revision: str) -> KerneldefsError:
    """Turn huggingface_hub's error into a sentence that says what to do."""
    from huggingface_hub import errors

    kinds: tuple[tuple[Any, str], ...] = (
        (
            errors.GatedRepoError,
            "is gated: accept its terms on its page, log in with `hf auth login` (or set "
            f"HF_TOKEN), {_INSTEAD}",
        ),
        (
            errors.RevisionNotFoundError,
            f"has no revision '{revision}'; check `revision`, or leave it empty for the newest",
        ),
        (
            errors.RepositoryNotFoundError,
            "does not exist on the hub, or is private: check its spelling, log in with "
            f"`hf auth login` if it is yours, {_INSTEAD}",
        ),
    )
    for kind, sentence in kinds:
        if isinstance(error, kind):
            return KerneldefsError(f"{repo_id} {sentence}")
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UnreachableError(
        f"{repo_id}: the hub could not be reached ({reason}): connect to the network, {_INSTEAD}"
    )
