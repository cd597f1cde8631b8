"""Which releases a capture ran with: they are part of what it found."""

from __future__ import annotations

import importlib.metadata
import platform

# Distributions whose release changes what a capture sees, or how a reference behaves.
_PACKAGES = ("sglang", "flashinfer-python", "sglang-kernel", "torch", "triton", "transformers")


def installed_versions() -> dict[str, str]:
    """Return release numbers by distribution name; "absent" where one is not installed."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    return versions
