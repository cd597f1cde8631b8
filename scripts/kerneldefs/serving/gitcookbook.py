"""A cookbook from a git repository at a commit: fetched once, only its YAML files, into a cache."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path, PurePosixPath

from kerneldefs.errors import KerneldefsError
from kerneldefs.files import replaced_directory
from kerneldefs.serving.cookbook import GENERATED
from kerneldefs.serving.yamlfile import MAX_BYTES

PREFIX = "git+"
_SOURCE = re.compile(r"git\+(?P<url>(https|ssh|file)://[^\s]+)@(?P<commit>[0-9a-f]{40})")
_TIMEOUT = 300  # seconds for one git command; the published cookbook takes a few
_MAX_FILES = 2000


def git_cookbook(source: str, results: Path, *, may_fetch: bool) -> Path:
    """Return the cached folder of `git+URL@commit`, fetching it first where it is missing.

    Raises KerneldefsError for a malformed source, a failed fetch, or a missing cache entry when
    `may_fetch` is False.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise KerneldefsError(
            f"cookbook '{source}': write git+https://host/path@ and a full commit hash (40 hex "
            f"digits), so that the same cookbook is read next time"
        )
    url, commit = match["url"], match["commit"]
    key = hashlib.sha256(url.encode()).hexdigest()[:12]
    folder = results / "cache" / "cookbooks" / f"{key}-{commit}"
    if not folder.is_dir():
        if not may_fetch:
            raise KerneldefsError(f"cookbook {source} is not in {folder.parent} yet")
        with (
            replaced_directory(folder) as target,
            tempfile.TemporaryDirectory(prefix="cookbook") as work,
        ):
            _fetch(url, commit, Path(work))
            _extract(commit, Path(work), target, source)
    return folder


def _git(work: Path, *arguments: str) -> bytes:
    """Run git without prompts, hooks or the transports that run a command."""
    safe = ("-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never")
    command = ["git", *safe, "-C", str(work), *arguments]
    environment = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes"}
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            timeout=_TIMEOUT,
            check=True,
        )
    except FileNotFoundError:
        raise KerneldefsError("git is not installed; install it or give a directory") from None
    except subprocess.TimeoutExpired:
        raise KerneldefsError(f"git {arguments[0]} took over {_TIMEOUT} s; try again") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise KerneldefsError(f"git {arguments[0]} failed: {lines[-1]}") from None
    return done.stdout


def _fetch(url: str, commit: str, work: Path) -> None:
    _git(work, "init", "--quiet", "--bare")
    try:
        try:
            _git(work, "fetch", "--quiet", "--depth=1", "--no-tags", url, commit)
        except KerneldefsError:  # a server that gives no bare commits: fetch the branches
            _git(work, "fetch", "--quiet", "--no-tags", url, "+refs/heads/*:refs/heads/*")
            _git(work, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except KerneldefsError as error:
        raise KerneldefsError(
            f"cookbook {url} at {commit} could not be fetched ({error}); check URL and commit, or "
            f"clone it and give the directory"
        ) from None


def _extract(commit: str, work: Path, target: Path, source: str) -> None:
    """Write the YAML files of data/models/generated; links and odd names are left in git."""
    listing = _git(work, "ls-tree", "-r", "-z", "-l", commit, "--", str(GENERATED))
    count = 0
    for line in listing.decode("utf-8", errors="replace").split("\0"):
        meta, _, name = line.partition("\t")
        path = PurePosixPath(name)
        if not meta.startswith("100") or path.suffix != ".yaml" or ".." in path.parts:
            continue
        _, _, blob, size = meta.split()
        count += 1
        if int(size) > MAX_BYTES or count > _MAX_FILES:
            raise KerneldefsError(f"cookbook {source}: {name} is too large, or too many files")
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_git(work, "cat-file", "blob", blob))
    if not count:
        raise KerneldefsError(f"cookbook {source}: no {GENERATED}/<version>/*.yaml in it")
