"""Releases of SGLang and FlashInfer: a known pair is found, an unknown one refused."""

from importlib import metadata

import pytest
from kerneldefs.capture.simulate import releases
from kerneldefs.errors import KerneldefsError


def install(monkeypatch, **versions):
    def version(package):
        if package not in versions:
            raise metadata.PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(metadata, "version", version)


def test_the_installed_pair_is_known():
    assert releases.installed_release() in releases.RELEASES


def test_an_unknown_pair_is_an_error_that_names_the_known_ones(monkeypatch):
    install(monkeypatch, **{"sglang": "0.5.21", "flashinfer-python": "0.6.15.post1"})
    with pytest.raises(
        KerneldefsError, match=r"0\.5\.21 with FlashInfer 0\.6\.15\.post1.*0\.6\.18"
    ):
        releases.installed_release()


def test_a_missing_package_is_an_error_that_says_what_to_do(monkeypatch):
    install(monkeypatch, sglang="0.5.21")
    with pytest.raises(KerneldefsError, match="flashinfer-python is not installed; run"):
        releases.installed_release()
