import os
import subprocess
from pathlib import Path

import pytest
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.cookbook import load_cookbook
from kerneldefs.serving.gitcookbook import git_cookbook

from .make import COMMIT, entry, model, write_cookbook

ENVIRONMENT = {
    **os.environ,
    **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "t"),
    **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "t@t"),
}


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "x")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "-q")
    return write_cookbook(root, {"v0.5.6/m.yaml": [model("M", "o/m", {"H100": [entry()]})]})


def test_a_commit_is_fetched_once_and_stays(tmp_path: Path, repository: Path) -> None:
    first = commit(repository)
    write_cookbook(repository, {"v0.5.8/n.yaml": [model("N", "o/n", {})]})
    commit(repository)
    source = f"git+file://{repository}@{first}"
    with pytest.raises(KerneldefsError, match=r"is not in .*cookbooks yet"):
        git_cookbook(source, tmp_path, may_fetch=False)
    folder = git_cookbook(source, tmp_path, may_fetch=True)
    assert [m.slug for m in load_cookbook(folder)] == ["m"]
    git(repository, "update-ref", "-d", "HEAD")
    assert git_cookbook(source, tmp_path, may_fetch=False) == folder


def test_links_in_the_repository_are_left_there(tmp_path: Path, repository: Path) -> None:
    os.symlink("/etc/passwd", repository / "data/models/generated/v0.5.6/link.yaml")
    folder = git_cookbook(f"git+file://{repository}@{commit(repository)}", tmp_path, may_fetch=True)
    assert [path.name for path in folder.rglob("*.yaml")] == ["m.yaml"]


def test_a_repository_without_a_cookbook(tmp_path: Path, repository: Path) -> None:
    git(repository, "rm", "-q", "-r", "--cached", "--ignore-unmatch", ".")
    (repository / "README").touch()
    git(repository, "add", "README")
    git(repository, "commit", "-qm", "x")
    head = git(repository, "rev-parse", "HEAD")
    with pytest.raises(KerneldefsError, match="no data/models/generated/<version>"):
        git_cookbook(f"git+file://{repository}@{head}", tmp_path, may_fetch=True)
    assert not list((tmp_path / "cache/cookbooks").iterdir())


@pytest.mark.parametrize("url", ["file:///nowhere/at/all", "repository"])
def test_a_commit_that_cannot_be_had(tmp_path: Path, repository: Path, url: str) -> None:
    commit(repository)
    url = f"file://{repository}" if url == "repository" else url
    with pytest.raises(KerneldefsError, match=rf"at {COMMIT} could not be fetched \(git"):
        git_cookbook(f"git+{url}@{COMMIT}", tmp_path, may_fetch=True)


@pytest.mark.parametrize(
    "source",
    [
        "git+https://host/x",
        "git+https://host/x@main",
        f"git+https://host/x@{COMMIT[:12]}",
        f"git+ext::sh -c true@{COMMIT}",
        f"git+--upload-pack=x@{COMMIT}",
    ],
)
def test_a_source_without_url_or_commit_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(KerneldefsError, match="write git\\+https://host/path@ and a full commit"):
        git_cookbook(source, tmp_path, may_fetch=True)
