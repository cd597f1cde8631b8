"""The folder of compiled kernels: one for each machine and set of releases, shared by captures.

FlashInfer's and Triton's own code fill it here from two processes at once, with a compiler that
writes half of a file, waits, and writes the rest.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kerneldefs.capture.engine import environment

SCRIPTS = Path(environment.__file__).parents[3]
HALF = "half of a kernel, "
COMPILER = f"""#!{sys.executable}
import os, sys, time
if "--version" in sys.argv: sys.exit(print("Cuda compilation tools, release 12.9, V12.9.1"))
out = sys.argv[sys.argv.index("-o") + 1]
with open(os.environ["COMPILED"], "a") as log: log.write(os.path.basename(out) + "\\n")
with open(out, "w") as file:
    file.write({HALF!r}); file.flush(); time.sleep(0.5); file.write("and the rest")
"""
READY = """
import os, sys, time
from pathlib import Path
Path(os.environ["MEET"], sys.argv[1]).touch()
while len(os.listdir(os.environ["MEET"])) < 2: time.sleep(0.01)
"""
FLASHINFER = f"""
from kerneldefs.capture import flashinfer_import
flashinfer_import.downloads()
from flashinfer.jit import core
core.JitSpecNvcc.load = lambda spec, path=None: Path(path or spec.jit_library_path).read_text()
source = Path(os.environ["MEET"]).parent / "kernel.cc"
spec = core.gen_jit_spec("kernel", [source])
{READY}
print(spec.build_and_load())
"""
TRITON = f"""
from triton.runtime.cache import get_cache_manager
cache = get_cache_manager("ab" * 32)
text = {HALF!r} * 300_000 + "and the rest"
{READY}
for _ in range(20):
    path = cache.put(text, "kernel.ptx")
    assert Path(path).read_text() == text
print("done")
"""


def two_at_once(tmp_path: Path, code: str) -> list[str]:
    """Run the code in two processes with an engine's environment; return what each says last."""
    compiler = tmp_path / "compiler"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").symlink_to(compiler)
    (tmp_path / "meet").mkdir()
    (tmp_path / "kernel.cc").write_text("")
    made = environment.engine_environment(tmp_path, tmp_path / "plugin", ["0"], "mark")
    made |= {
        "COMPILED": str(tmp_path / "compiled"), "CUDA_HOME": str(tmp_path), "CXX": str(compiler),
        "FLASHINFER_CUDA_ARCH_LIST": "9.0a", "MEET": str(tmp_path / "meet"),
    }  # fmt: skip
    code = "import os, sys, time\nfrom pathlib import Path\n" + code
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, name],
            cwd=SCRIPTS,
            env=made,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    said = [process.communicate(timeout=120)[0].strip().splitlines()[-1:] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    return [line for lines in said for line in lines]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNELDEFS_CACHE", str(tmp_path / "cache"))


def test_flashinfer_compiles_once_and_both_get_all_of_it(tmp_path: Path):
    whole = f"{HALF}and the rest"
    assert two_at_once(tmp_path, FLASHINFER) == [whole, whole]
    made = (tmp_path / "compiled").read_text().split()
    assert [Path(name).suffix for name in made] == [".o", ".so"]
    [library] = (tmp_path / "cache").rglob("kernel.so")
    assert environment.kernel_cache() in library.parents


def test_triton_shows_no_unfinished_file(tmp_path: Path):
    assert two_at_once(tmp_path, TRITON) == ["done", "done"]
    [kernel] = (tmp_path / "cache").rglob("kernel.ptx")
    assert environment.kernel_cache() in kernel.parents


def test_each_machine_and_set_of_releases_has_its_own(monkeypatch: pytest.MonkeyPatch):
    here = environment.kernel_cache()
    versions = environment.installed_versions()
    for package in ("flashinfer-python", "sglang", "torch"):
        other = versions | {package: "99.0"}
        with monkeypatch.context() as patch:
            patch.setattr(environment, "installed_versions", lambda other=other: other)
            assert environment.kernel_cache() != here
    monkeypatch.setattr(environment.platform, "node", lambda: "another")
    assert environment.kernel_cache().parts[:-2] == here.parts[:-2]
    assert environment.kernel_cache() != here
