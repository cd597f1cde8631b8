"""The hub's client is the real one; the hub is a small server that speaks its protocol."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.hub import cache_folder, cached, fetch

from .make import COMMIT


class Hub(HTTPServer):
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
        if words[:2] == ["api", "models"]:
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

    def file(self, repo_id: str, name: str) -> None:
        if repo_id in self.server.gated:
            self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        else:
            headers = {"X-Repo-Commit": COMMIT, "ETag": '"0"'}
            self.answer(200, self.server.models[repo_id][name], headers)

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


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        server.models["o/m"] = {
            "config.json": b'{"auto_map": {"AutoConfig": "configuration_m.M"}}',
            "hf_quant_config.json": b"{}",
            "configuration_m.py": b"x = 1",
            "model.safetensors": b"weights",
        }
        yield server
        server.shutdown()


def test_what_is_fetched_is_found_in_the_cache(tmp_path: Path, hub: Hub) -> None:
    assert cached(tmp_path, "o/m", None, with_code=False) is None
    config = fetch(tmp_path, "o/m", None, with_code=False, endpoint=hub.url)
    assert (config.repo_id, config.revision) == ("o/m", COMMIT)
    folder = cache_folder(tmp_path, "o/m")
    assert folder == tmp_path / "cache/models/o--m"
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == [f"{COMMIT}/config.json", f"{COMMIT}/hf_quant_config.json", "refs/main"]
    assert cached(tmp_path, "o/m", None, with_code=False) == config
    assert cached(tmp_path, "o/m", "main", with_code=False) == config
    assert cached(tmp_path, "o/m", COMMIT, with_code=False) == config
    assert cached(tmp_path, "o/m", "other", with_code=False) is None


def test_code_is_fetched_only_when_it_is_trusted(tmp_path: Path, hub: Hub) -> None:
    fetch(tmp_path, "o/m", None, with_code=False, endpoint=hub.url)
    assert cached(tmp_path, "o/m", None, with_code=True) is None
    config = fetch(tmp_path, "o/m", None, with_code=True, endpoint=hub.url)
    assert (config.directory / "configuration_m.py").read_text() == "x = 1"
    assert cached(tmp_path, "o/m", None, with_code=True) == config
    assert not any("safetensors" in path for path in hub.asked)


def test_a_revision_is_asked_for_as_it_is_written(tmp_path: Path, hub: Hub) -> None:
    fetch(tmp_path, "o/m", "12e5", with_code=False, endpoint=hub.url)
    assert (cache_folder(tmp_path, "o/m") / "refs/12e5").read_text() == COMMIT + "\n"


def test_a_gated_repository(tmp_path: Path, hub: Hub) -> None:
    hub.gated.add("o/m")
    with pytest.raises(KerneldefsError, match=r"^o/m is gated: accept its terms .* hf_repo_id$"):
        fetch(tmp_path, "o/m", None, with_code=False, endpoint=hub.url)
    assert not list(cache_folder(tmp_path, "o/m").iterdir())


def test_a_missing_repository(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(KerneldefsError, match=r"^o/n does not exist on the hub, or is private"):
        fetch(tmp_path, "o/n", None, with_code=False, endpoint=hub.url)


def test_a_missing_revision(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(KerneldefsError, match=r"^o/m has no revision 'v9'; check `revision`"):
        fetch(tmp_path, "o/m", "v9", with_code=False, endpoint=hub.url)


def test_a_repository_without_config(tmp_path: Path, hub: Hub) -> None:
    del hub.models["o/m"]["config.json"]
    with pytest.raises(KerneldefsError, match=r"^o/m at 'main': has no config\.json"):
        fetch(tmp_path, "o/m", None, with_code=False, endpoint=hub.url)


def test_a_broken_config_does_not_enter_the_cache(tmp_path: Path, hub: Hub) -> None:
    hub.models["o/m"]["config.json"] = b"[1]"
    with pytest.raises(
        KerneldefsError, match=r"^o/m at 'main': its config is broken \(.*JSON object"
    ):
        fetch(tmp_path, "o/m", None, with_code=False, endpoint=hub.url)
    assert cached(tmp_path, "o/m", COMMIT, with_code=False) is None


def test_no_hub_in_reach(tmp_path: Path, hub: Hub) -> None:
    url = hub.url
    hub.shutdown()
    hub.server_close()
    with pytest.raises(KerneldefsError, match=r"^o/m: the hub could not be reached \(.*network"):
        fetch(tmp_path, "o/m", None, with_code=False, endpoint=url)
