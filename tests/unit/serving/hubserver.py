"""A small server that speaks the model hub's protocol, for the hub's real client."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .make import COMMIT


class Hub(ThreadingHTTPServer):
    """`models` is {repository id: {file name: content}}; `asked` collects the paths requested."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models: dict[str, dict[str, bytes]] = {}
        self.gated: set[str] = set()
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        words = self.path.partition("?")[0].strip("/").split("/")
        if words[:2] == ["api", "models"] and words[4:5] == ["tree"]:
            self.tree("/".join(words[2:4]))
        elif words[:2] == ["api", "models"]:
            self.info("/".join(words[2:4]), words[5] if len(words) > 5 else "main")
        else:
            self.file("/".join(words[:2]), "/".join(words[4:]))

    do_HEAD = do_GET

    def info(self, repo_id: str, revision: str) -> None:
        if repo_id not in self.server.models:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", COMMIT, "12e5"):
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            files = [{"rfilename": name} for name in self.server.models[repo_id]]
            self.answer(200, json.dumps({"id": repo_id, "sha": COMMIT, "siblings": files}).encode())

    def tree(self, repo_id: str) -> None:
        files = self.server.models[repo_id].items()
        found = [{"type": "file", "path": n, "size": len(c), "oid": "0"} for n, c in files]
        self.answer(200, json.dumps(found).encode())

    def file(self, repo_id: str, name: str) -> None:
        if repo_id in self.server.gated:
            self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        else:
            content = self.server.models.get(repo_id, {}).get(name)
            if content is None:
                self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
                return
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
            self.answer(200, content, headers)

    def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a hub for as long as the block runs."""
    with Hub() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
