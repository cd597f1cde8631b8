"""What GPU jobs need is fetched before, from servers that the real clients talk to."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from kerneldefs.capture.engine.fetch import read_fetched
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import read_json, write_json
from serving.hubserver import Hub, serving
from serving.make import COMMIT

from .test_weights import write_weights

ROOT = Path(__file__).resolve().parents[4]
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens


def fetch(*words: str, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command, after `code` where FlashInfer's own addresses must be changed."""
    start = f"import runpy, sys; sys.argv = {['fetch_for_gpus.py', *words]!r}\n{code}\n"
    start += "runpy.run_path('scripts/fetch_for_gpus.py', run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", start],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a command that failed."""
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


# ---- weights


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = write_weights(tmp_path / "published")
    with serving() as server:
        server.models["o/m"] = {path.name: path.read_bytes() for path in folder.iterdir()}
        server.models["o/m"]["original/other.safetensors"] = b"not for us"
        server.models["o/m"]["pytorch_model.bin"] = b"not for us"
        yield server


def weights(tmp_path: Path, url: str, revision: str = "bundled", planned: str = "") -> list[str]:
    (tmp_path / "planned").mkdir(exist_ok=True)
    (tmp_path / "planned" / "config.json").write_text(planned or '{"num_hidden_layers": 4}')
    words = ["weights", "--model-config", str(tmp_path / "planned"), "--repo-id", "o/m"]
    return [*words, "--revision", revision, "--out", str(tmp_path / "weights.json")]


def test_weights_come_from_the_hub_once(tmp_path: Path, hub: Hub):
    words, there = weights(tmp_path, hub.url), {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}
    done = fetch(*words, **there)
    assert done.returncode == 0, done.stderr
    found = read_json(tmp_path / "weights.json")
    folder = Path(found["weights"])
    assert found["revision"] == COMMIT
    assert {path.name for path in folder.iterdir()} == set(hub.models["o/m"]) - {
        "original/other.safetensors",
        "pytorch_model.bin",
    }
    assert read_fetched([tmp_path / "weights.json"]) == {"weights": folder}
    hub.asked.clear()
    assert fetch(*words, **there).returncode == 0
    assert not [path for path in hub.asked if path.endswith("00001-of-00002.safetensors")]


def test_a_hub_that_cannot_be_had_is_a_sentence(tmp_path: Path, hub: Hub):
    words = weights(tmp_path, hub.url)
    gone = fetch(*words, HF_ENDPOINT=NOBODY, HF_HOME=str(tmp_path))
    assert "o/m: the hub could not be reached" in said(gone)
    hub.gated.add("o/m")
    closed = fetch(*words, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path))
    assert "o/m is gated: accept its terms" in said(closed)
    assert not (tmp_path / "weights.json").exists()


def test_weights_that_are_not_whole_or_of_another_model(tmp_path: Path, hub: Hub):
    there = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}
    other = weights(tmp_path, hub.url, planned='{"num_hidden_layers": 61}')
    assert "num_hidden_layers 4 where 61 was planned with" in said(fetch(*other, **there))
    hub.models["o/m"].pop("model-00002-of-00002.safetensors")
    there["HF_HOME"] = str(tmp_path / "anew")
    sentence = said(fetch(*weights(tmp_path, hub.url), **there))
    assert "names model-00002-of-00002.safetensors, and there is no such file" in sentence


def test_a_directory_has_its_weights_itself(tmp_path: Path):
    words = weights(tmp_path, NOBODY, revision="local")
    sentence = said(fetch(*words, HF_ENDPOINT=NOBODY))
    assert "planned: holds no weights" in sentence
    write_weights(tmp_path / "planned")
    assert fetch(*words, HF_ENDPOINT=NOBODY).returncode == 0
    found = read_json(tmp_path / "weights.json")
    assert found["weights"] == str(tmp_path / "planned") and found["revision"] == "local"


def test_what_was_fetched_and_is_gone(tmp_path: Path):
    write_json(tmp_path / "cubins.json", {"cubins": str(tmp_path / "gone")})
    with pytest.raises(KerneldefsError, match=r"cubins that were fetched are gone; delete .*json"):
        read_fetched([tmp_path / "cubins.json"])
    write_json(tmp_path / "cubins.json", {"cubins": None})
    assert read_fetched([tmp_path / "cubins.json"]) == {}


# ---- cubins: FlashInfer's own download, with the sums of the server's files in place of its own

FILES = {"kernel.cubin": b"cubin", "include/flashInferMetaInfo.h": b"// meta", "kernel.so": b"so"}
SUMS = """
import hashlib, time, urllib.request
time.sleep = lambda seconds: None  # between its tries
from kerneldefs.capture import flashinfer_import
load = flashinfer_import.downloads
def downloads():
    artifacts = load()
    class Sums(dict):
        def __missing__(self, name):
            with urllib.request.urlopen(artifacts.FLASHINFER_CUBINS_REPOSITORY + name) as stream:
                return hashlib.sha256(stream.read()).hexdigest()
    artifacts.CheckSumHash.map_checksums = Sums()
    return artifacts
flashinfer_import.downloads = downloads
"""


class Listing(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A server of cubins in the folders that the installed FlashInfer asks for."""
    code = "import json; from kerneldefs.capture.flashinfer_import import downloads\n"
    code += "a = downloads(); p = vars(a.ArtifactPath); archs = a.ArtifactPath.DSL_FMHA_ARCHS\n"
    code += "print(json.dumps([{k: v for k, v in p.items() if isinstance(v, str)}, archs]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True
    )
    paths, archs = json.loads(done.stdout.splitlines()[-1])
    names = ("TRTLLM_GEN_FMHA", "TRTLLM_GEN_BMM", "TRTLLM_GEN_GEMM", "DEEPGEMM")
    folders = [paths[name] for name in names]
    cpus = ("x86_64", "aarch64")
    folders += [f"{paths['DSL_FMHA']}{cpu}/{arch}/" for cpu in cpus for arch in archs]
    for folder in folders:
        letter = "I" if folder == paths["TRTLLM_GEN_FMHA"] else "i"
        sums = []
        for name, content in FILES.items():
            path = tmp_path / "server" / folder / name.replace("flashI", f"flash{letter}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            where = path.relative_to(tmp_path / "server" / folder)
            sums.append(f"{hashlib.sha256(content).hexdigest()}  {where}\n")
        (tmp_path / "server" / folder / "checksums.txt").write_text("".join(sums))
    handler = functools.partial(Listing, directory=str(tmp_path / "server"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def cubins(tmp_path: Path, repository: str) -> subprocess.CompletedProcess[str]:
    return fetch(
        "cubins", "--out", str(tmp_path / "cubins.json"), code=SUMS,
        FLASHINFER_CUBINS_REPOSITORY=repository, KERNELDEFS_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip


def test_cubins_are_fetched_whole_for_every_machine(tmp_path: Path, repository: str):
    done = cubins(tmp_path, repository)
    assert done.returncode == 0, done.stderr
    folder = read_fetched([tmp_path / "cubins.json"])["cubins"]
    assert folder.parent == tmp_path / "cache" / "cubins"
    kernels = sorted(folder.rglob("kernel.cubin"))
    assert kernels and all(path.with_suffix(".so").exists() for path in kernels)


def test_a_kernel_that_the_server_lacks_is_named(tmp_path: Path, repository: str):
    lost = sorted((tmp_path / "server").rglob("kernel.so"))
    [path.unlink() for path in lost if "x86_64" in str(path) or "aarch64" in str(path)]
    assert "that its checksums name were not fetched, among them" in said(
        cubins(tmp_path, repository)
    )


def test_no_cubins_without_a_network_is_a_sentence(tmp_path: Path):
    sentence = said(cubins(tmp_path, NOBODY + "/"))
    assert "its cubins could not be fetched" in sentence and "flashinfer-cubin" in sentence
    assert not (tmp_path / "cubins.json").exists()
