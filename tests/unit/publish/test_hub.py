"""The hub's client is the real one; the hub is a small server that speaks its protocol."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from kerneldefs.dataset.existing import Dataset
from kerneldefs.errors import KerneldefsError
from kerneldefs.publish.hub import fetch_dataset

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "definitions/rmsnorm/rmsnorm_h64.json": b'{"name": "rmsnorm_h64"}',
    "workloads/rmsnorm/rmsnorm_h64.jsonl": b"{}",
    "README.md": b"a dataset",
}


class Handler(BaseHTTPRequestHandler):
    """A hub with one dataset at one commit; the server's `asked` collects the files requested."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == f"/api/datasets/o/trace/revision/{COMMIT}":
            siblings = [{"rfilename": name} for name in FILES]
            info = {"id": "o/trace", "sha": COMMIT, "siblings": siblings}
            self.answer(json.dumps(info).encode())
        elif path == f"/api/datasets/o/trace/tree/{COMMIT}":
            rows = [
                {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                for name, data in FILES.items()
            ]
            self.answer(json.dumps(rows).encode())
        elif path.startswith(f"/datasets/o/trace/resolve/{COMMIT}/"):
            name = path.partition(f"{COMMIT}/")[2]
            self.server.asked.append(name)  # type: ignore[attr-defined]
            self.answer(FILES[name], {"ETag": f'"{hashlib.sha1(FILES[name]).hexdigest()}"'})
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def answer(self, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(200)
        for key, value in {"X-Repo-Commit": COMMIT, **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def url(hub: HTTPServer) -> str:
    return f"http://127.0.0.1:{hub.server_port}"


def test_only_definitions_are_fetched(tmp_path: Path, hub: HTTPServer) -> None:
    out = tmp_path / "trace"
    assert fetch_dataset(f"o/trace@{COMMIT}", out, url(hub)) == 1
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert names == {"definitions/rmsnorm/rmsnorm_h64.json", "REVISION"}
    assert not any("workloads" in name for name in hub.asked)  # type: ignore[attr-defined]
    Dataset(out)
    assert fetch_dataset(f"o/trace@{COMMIT}", out, url(hub)) == 1


@pytest.mark.parametrize("pinned", ["o/trace", "o/trace@main", f"o/trace@{COMMIT[:8]}"])
def test_a_commit_must_be_named(tmp_path: Path, pinned: str) -> None:
    with pytest.raises(KerneldefsError, match="all 40 digits of the commit"):
        fetch_dataset(pinned, tmp_path / "trace")


def test_a_folder_of_something_else_is_kept(tmp_path: Path) -> None:
    with pytest.raises(KerneldefsError, match="was not fetched by this command"):
        fetch_dataset(f"o/trace@{COMMIT}", tmp_path)


def test_a_commit_that_is_not_there(tmp_path: Path, hub: HTTPServer) -> None:
    with pytest.raises(KerneldefsError, match="could not be fetched"):
        fetch_dataset(f"o/trace@{'f' * 40}", tmp_path / "trace", url(hub))
    assert not (tmp_path / "trace").exists()
