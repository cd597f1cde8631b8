"""The small install of sglang-kernel, on a made-up wheel."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from importlib import metadata
from pathlib import Path

import kernel_package
import pytest
from hypothesis import given
from hypothesis import strategies as st

ONE_LINE = "rmsnorm(Tensor! output, Tensor input, float eps) -> ()"
TIGHT = "transfer_kv(Tensor[] sources, int page_size)->()"
LAID_OUT = "fwd(\n    Tensor   q,\n    Tensor?  k) -> (Tensor(a!), Tensor)"
LAID_OUT_FOUND = "fwd( Tensor q, Tensor? k) -> (Tensor(a!), Tensor)"
NOISE = [
    "({object}) -> None",  # a pybind11 signature
    "usage: tool(int x) -> y",  # prose before the name
    "f(\x01Tensor x) -> ()",  # not text
    "callback(void) -> nothing",  # no operator type
    "vec<Tensor>::at(int) -> here",  # a C++ name
]


def library(*strings: str, padding: int = 0) -> bytes:
    middle = b"\0".join(text.encode() for text in strings)
    return b"\x7fELF\0" + b"\xff) -> " * padding + b"\0" + middle + b"\0\x01\x02"


def make_wheel(folder: Path, version: str = "1.0", library_bytes: bytes | None = None) -> Path:
    path = folder / f"sglang_kernel-{version}-py3-none-any.whl"
    info = f"sglang_kernel-{version}.dist-info"
    blob = library(ONE_LINE) if library_bytes is None else library_bytes
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("sgl_kernel/__init__.py", "import torch\n")
        archive.writestr("sgl_kernel/deep/er.py", "")
        archive.writestr("sgl_kernel/common_ops.abi3.so", blob)
        archive.writestr("sgl_kernel/../../escape.py", "")
        archive.writestr("triton_kernels/matmul.py", "")
        archive.writestr("other/module.py", "")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: sglang-kernel\nVersion: {version}\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr(f"{info}/RECORD", "sgl_kernel/common_ops.abi3.so,sha256=x,1\n")
    return path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site-packages"
    path.mkdir()
    return path


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    path = tmp_path / "kernel.txt"
    path.write_text("# a comment\nsglang-kernel==1.0\n")
    return path


def run(pins: Path, site: Path, wheel: Path) -> int:
    return kernel_package.main([str(pins), "--wheel", str(wheel), "--site-packages", str(site)])


def test_schemas_are_told_from_other_strings() -> None:
    blob = library(*NOISE, ONE_LINE, TIGHT, LAID_OUT, padding=3)
    assert kernel_package.schemas_in(io.BytesIO(blob)) == {ONE_LINE, TIGHT, LAID_OUT_FOUND}


@given(before=st.integers(0, 300), chunk=st.integers(32, 256))
def test_no_schema_is_lost_between_chunks(before: int, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_package, "CHUNK", chunk)
        patch.setattr(kernel_package, "OVERLAP", 128)
        blob = b"\x7f" * before + library(ONE_LINE, TIGHT) + b"\x7f" * 64
        assert kernel_package.schemas_in(io.BytesIO(blob)) == {ONE_LINE, TIGHT}


def test_python_files_and_schemas_are_installed_and_nothing_else(
    tmp_path: Path, site: Path, pins: Path
) -> None:
    wheel = make_wheel(tmp_path, library_bytes=library(TIGHT, ONE_LINE))
    assert run(pins, site, wheel) == 0
    files = {str(f.relative_to(site)) for f in site.rglob("*") if f.is_file()}
    info = "sglang_kernel-1.0.dist-info"
    assert files == {
        "sgl_kernel/__init__.py",
        "sgl_kernel/deep/er.py",
        "sgl_kernel/op_schemas.txt",
        "triton_kernels/matmul.py",
        *(f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "INSTALLER")),
    }
    assert (site / "sgl_kernel/op_schemas.txt").read_text() == f"{ONE_LINE}\n{TIGHT}\n"
    assert not list(tmp_path.rglob("escape.py"))


def test_record_lets_pip_verify_and_uninstall(tmp_path: Path, site: Path, pins: Path) -> None:
    run(pins, site, make_wheel(tmp_path))
    (distribution,) = metadata.distributions(name="sglang-kernel", path=[str(site)])
    listed = {str(file): file for file in distribution.files or []}
    assert set(listed) == {str(f.relative_to(site)) for f in site.rglob("*") if f.is_file()}
    for name, file in listed.items():
        if name.endswith("/RECORD"):
            continue
        content = (site / name).read_bytes()
        assert file.size == len(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
        assert file.hash is not None and file.hash.value == digest.rstrip("=")


def test_second_run_touches_nothing(
    tmp_path: Path, site: Path, pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(pins, site, make_wheel(tmp_path))
    marker = site / "sgl_kernel/__init__.py"
    marker.write_text("changed")
    assert run(pins, site, make_wheel(tmp_path)) == 0
    assert marker.read_text() == "changed"
    assert "there already (small)" in capsys.readouterr().out


def test_whole_package_is_left_alone(
    tmp_path: Path, site: Path, pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(make_wheel(tmp_path)) as archive:
        archive.extractall(site)
    assert run(pins, site, tmp_path / "missing.whl") == 0
    assert "there already (whole)" in capsys.readouterr().out
    assert not (site / "sgl_kernel/op_schemas.txt").exists()


def test_other_version_is_an_error(
    tmp_path: Path, site: Path, pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(pins, site, make_wheel(tmp_path))
    pins.write_text("sglang-kernel==2.0\n")
    assert run(pins, site, make_wheel(tmp_path, "2.0")) == 1
    assert "sglang-kernel 1.0 is in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(library("no schema here"), "holds no operator schemas"), (None, "not a zip file")],
)
def test_unusable_wheel_installs_nothing(
    tmp_path: Path,
    site: Path,
    pins: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    sentence: str,
) -> None:
    wheel = make_wheel(tmp_path, library_bytes=content)
    if content is None:
        wheel.write_bytes(b"half a download")
    assert run(pins, site, wheel) == 1
    assert sentence in capsys.readouterr().err
    assert not list(site.iterdir())


def test_requirements_without_the_pin_are_an_error(
    tmp_path: Path, site: Path, pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pins.write_text("sglang-kernel>=1\n")
    assert run(pins, site, tmp_path / "none.whl") == 1
    assert "no line `sglang-kernel==VERSION`" in capsys.readouterr().err
