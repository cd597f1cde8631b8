"""Install sglang-kernel without its compiled libraries.

The wheel is 342 MB, 1.2 GB unpacked, nearly all of it GPU code that a capture without a GPU can
neither load nor use. What such a capture needs are the wheel's Python files and the schemas of its
operators, which stand in the libraries as plain C strings. This script installs those two and
leaves a `.dist-info` that pip can read and uninstall.

Standard library only: it runs while the environment is being made.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

PACKAGE = "sgl_kernel"
PYTHON = (PACKAGE, "triton_kernels")  # the wheel's packages with Python files
DISTRIBUTION = "sglang-kernel"
SCHEMAS = f"{PACKAGE}/op_schemas.txt"
CHUNK = 1 << 24  # bytes of a library looked at together
OVERLAP = 1 << 14  # bytes carried from chunk to chunk; longer than any schema (the longest: 1.5 kB)
ARROWS = (b") ->", b")->")  # both spellings occur
SCHEMA = re.compile(r"(?:\w+::)?[A-Za-z_]\w*\(.*\) ?-> ?[(A-Za-z].*")
TYPE = re.compile(r"\b(?:Tensor|int|bool|float|str|ScalarType)\b")


class InstallError(Exception):
    """A failure the user can act on, in one line."""


def schemas_in(stream: BinaryIO) -> set[str]:
    """Return the operator schemas among the C strings of one library."""
    found: set[str] = set()
    window = b""
    while chunk := stream.read(CHUNK):
        window += chunk
        found.update(_schemas(window))
        window = window[-OVERLAP:]
    return found


def _schemas(window: bytes) -> Iterator[str]:
    for arrow in ARROWS:
        at = window.find(arrow)
        while at >= 0 and (end := window.find(b"\0", at)) >= 0:  # else it ends in the next chunk
            start = window.rfind(b"\0", max(0, at - OVERLAP), at) + 1
            if start and (schema := _schema(window[start:end])):
                yield schema
            at = window.find(arrow, end)


def _schema(raw: bytes) -> str | None:
    if not raw.isascii():
        return None
    text = " ".join(raw.decode("ascii").split())  # long schemas are laid out over several lines
    return text if text.isprintable() and SCHEMA.fullmatch(text) and TYPE.search(text) else None


def installed_files(version: str, site: Path) -> str | None:
    """Say what of the package is in `site`: "whole", "small", or None when nothing is.

    Raises InstallError for another version, which this script must not touch.
    """
    for distribution in metadata.distributions(name=DISTRIBUTION, path=[str(site)]):
        if distribution.version != version:
            raise InstallError(
                f"{DISTRIBUTION} {distribution.version} is in {site}, {version} is wanted; "
                f"run `pip uninstall {DISTRIBUTION}` first"
            )
        files = distribution.files or []
        libraries = [f for f in files if f.name.endswith(".so") and Path(f.locate()).exists()]
        if libraries:
            return "whole"
        if (site / SCHEMAS).exists():
            return "small"
    return None


def install(wheel: Path, site: Path) -> int:
    """Unpack the small part of `wheel` into `site`; return the number of schemas found.

    The RECORD, which makes the distribution visible to pip, is written last.
    """
    record: list[tuple[str, bytes | None]] = []
    found: set[str] = set()
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".so"):
                with archive.open(name) as stream:
                    found |= schemas_in(stream)
            elif name.endswith(".dist-info/RECORD"):
                record.append((name, None))
            elif _wanted(name):
                record.append((name, archive.read(name)))
    if not found:
        raise InstallError(
            f"{wheel.name} holds no operator schemas; this script does not know its layout"
        )
    record.append((SCHEMAS, "".join(f"{line}\n" for line in sorted(found)).encode()))
    folder = next(name for name, content in record if content is None).rpartition("/")[0]
    record.append((f"{folder}/INSTALLER", b"kerneldefs\n"))
    _write(site, record)
    return len(found)


def _wanted(name: str) -> bool:
    if name.startswith("/") or ".." in name.split("/") or name.endswith("/"):
        return False
    top = name.split("/")[0]
    return (top in PYTHON and name.endswith(".py")) or top.endswith(".dist-info")


def _write(site: Path, files: Iterable[tuple[str, bytes | None]]) -> None:
    lines = []
    last = None
    for name, content in files:
        if content is None:
            lines.append(f"{name},,")
            last = site / name
            continue
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        checksum = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
        lines.append(f"{name},sha256={checksum.decode()},{len(content)}")
    if last is not None:
        last.write_text("".join(f"{line}\n" for line in sorted(lines)))


def download(requirement: str, folder: Path) -> Path:
    """Fetch the wheel through pip, which verifies it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), requirement]
    if subprocess.run(command, check=False).returncode:
        raise InstallError(f"pip could not download {requirement}; its own message stands above")
    return next(folder.glob("*.whl"))


def wanted_version(requirements: Path) -> str:
    """Read the pinned version, `sglang-kernel==X`, from a requirements file."""
    match = re.search(rf"^{DISTRIBUTION}==(\S+)$", requirements.read_text(), re.MULTILINE)
    if not match:
        raise InstallError(f"{requirements}: no line `{DISTRIBUTION}==VERSION`")
    return match[1]


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, install unless it is there, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "requirements", type=Path, help=f"a requirements file that pins {DISTRIBUTION}"
    )
    parser.add_argument("--wheel", type=Path, help="use this wheel instead of downloading it")
    parser.add_argument(
        "--site-packages",
        type=Path,
        default=Path(next(p for p in sys.path if p.endswith("site-packages"))),
        help="where to install (default: this interpreter's)",
    )
    options = parser.parse_args(arguments)
    try:
        version = wanted_version(options.requirements)
        there = installed_files(version, options.site_packages)
        if there:
            print(f"{DISTRIBUTION} {version} is there already ({there}); nothing to do")
            return 0
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            wheel = options.wheel or download(f"{DISTRIBUTION}=={version}", Path(folder))
            count = install(wheel, options.site_packages)
        seconds = time.monotonic() - started
        print(f"{DISTRIBUTION} {version}: Python files and {count} schemas, {seconds:.0f} s")
    except (InstallError, OSError, zipfile.BadZipFile) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
