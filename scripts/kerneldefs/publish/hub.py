"""The dataset's definitions from the Hub, at a commit, to compare with where there is no clone."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from kerneldefs.errors import KerneldefsError
from kerneldefs.files import replaced_directory, write_text

DATASET = "flashinfer-ai/flashinfer-trace"
REVISION_FILE = "REVISION"  # says in the folder which commit it is
_PINNED = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})")


def fetch_dataset(pinned: str, out: Path, endpoint: str | None = None) -> int:
    """Fetch `definitions/**` of REPO@COMMIT into a folder; return how many files there are.

    Workloads and traces, which are most of the dataset, stay where they are. `endpoint` is the
    hub's address, None for the one that huggingface_hub is set to.
    """
    match = _PINNED.fullmatch(pinned)
    if match is None:
        raise KerneldefsError(
            f"{pinned}: is not REPOSITORY@COMMIT with all 40 digits of the commit; for example "
            f"{DATASET}@0123456789abcdef0123456789abcdef01234567"
        )
    if out.exists() and not (out / REVISION_FILE).is_file():
        raise KerneldefsError(
            f"{out}: is there and was not fetched by this command; give another folder"
        )
    with replaced_directory(out) as folder:
        _download(match["repo"], match["commit"], folder, endpoint)
        files = sorted((folder / "definitions").rglob("*.json"))
        if not files:
            raise KerneldefsError(f"{pinned}: has no definitions; check the repository and commit")
        write_text(folder / REVISION_FILE, f"{pinned}\n")
    return len(files)


def _download(repo: str, commit: str, folder: Path, endpoint: str | None) -> None:
    from huggingface_hub import snapshot_download  # slow to import

    try:
        snapshot_download(
            repo,
            repo_type="dataset",
            revision=commit,
            allow_patterns=["definitions/**"],
            local_dir=folder,
            endpoint=endpoint,
        )
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise KerneldefsError(
            f"{repo}@{commit}: could not be fetched ({reason}); check the network and the commit, "
            "or give a clone as dataset=PATH"
        ) from None
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's own bookkeeping
