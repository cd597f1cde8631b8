"""Which releases a capture ran with: they are part of what it found."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

from kerneldefs.errors import KerneldefsError

# Distributions whose release changes what a capture sees, or how a reference behaves.
_PACKAGES = ("sglang", "flashinfer-python", "sglang-kernel", "torch", "triton", "transformers")
_SCRIPTS = Path(__file__).resolve().parents[2]
_ASK_SECONDS = 60  # it takes 0.1 s; a network file system may be slow


def installed_versions() -> dict[str, str]:
    """Return release numbers by distribution name; "absent" where one is not installed."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    return versions


@functools.cache
def find_interpreter(python: str) -> str:
    """Return the absolute path of an interpreter given by path or name.

    Links are kept: what a link in a virtual environment points to is outside of it.
    """
    found = shutil.which(os.path.expanduser(python))
    if found is None:
        raise KerneldefsError(
            f"python: {python} is no program; give the path of an environment's bin/python"
        )
    return os.path.abspath(found)


@functools.cache
def versions_of(python: str) -> str:
    """Ask an interpreter for its `installed_versions`, as JSON text; once per process.

    Raises KerneldefsError where it cannot run this project.
    """
    command = [find_interpreter(python), "-m", "kerneldefs.capture.versions"]
    try:
        done = subprocess.run(
            command,
            cwd=_SCRIPTS,
            capture_output=True,
            text=True,
            timeout=_ASK_SECONDS,
            check=False,
        )
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KerneldefsError(f"python: {python} does not run ({error})") from None
    if done.returncode:
        raise KerneldefsError(
            f"python: {python} cannot run this project ({reason}); it must be Python 3.11 or newer"
        )
    return done.stdout.strip()


if __name__ == "__main__":
    print(json.dumps(installed_versions(), sort_keys=True))
