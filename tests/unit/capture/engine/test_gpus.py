"""GPUs are chosen as CUDA counts them, held one capture each, and refused when they are full."""

from __future__ import annotations

import dataclasses

import pytest
from kerneldefs.capture.engine import gpus
from kerneldefs.errors import KerneldefsError

H100 = gpus.Gpu("0", "GPU-aa", "NVIDIA H100", "sm_90", 79 << 30, 80 << 30, ())
SECOND = dataclasses.replace(H100, token="1", uuid="GPU-bb")
B200 = dataclasses.replace(H100, token="2", uuid="GPU-cc", name="NVIDIA B200", arch="sm_100")


@pytest.mark.parametrize(
    ("names", "tokens"),
    [(None, "0 1 2"), ("1", "1"), ("2,0", "2 0"), ("GPU-bb", "1"), ("1,9,0", "1")],
)
def test_visible_devices_are_respected(names: str | None, tokens: str):
    assert [g.token for g in gpus.chosen([H100, SECOND, B200], names)] == tokens.split()


@pytest.mark.parametrize("names", ["", "9", "none"])
def test_visible_devices_that_name_nothing_are_an_error(names: str):
    with pytest.raises(KerneldefsError, match="names no GPU of this machine"):
        gpus.chosen([H100], names)


def test_too_few_gpus_of_the_architecture():
    assert gpus.usable([H100, B200, SECOND], 2, "sm_90") == [H100, SECOND]
    with pytest.raises(KerneldefsError, match=r"needs 2 GPU\(s\) of sm_100, and 1 are visible"):
        gpus.usable([H100, B200], 2, "sm_100")


def test_a_full_gpu_is_refused_with_who_holds_it():
    gpus.check_memory([H100], 0.5)
    full = dataclasses.replace(H100, free=20 << 30, processes=(4711,))
    with pytest.raises(KerneldefsError, match=r"20 of 80 GiB free .* processes on it: 4711"):
        gpus.check_memory([full], 0.5)
    busy = dataclasses.replace(H100, free=60 << 30)
    gpus.check_memory([busy], 0.5)
    with pytest.raises(KerneldefsError, match="and a capture starts with 90%"):
        gpus.check_memory([busy], 0.8)


def test_two_captures_never_hold_the_same_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))

    def refused(count: int) -> None:
        with (
            pytest.raises(KerneldefsError, match="did not come free"),
            gpus.reserved([H100, SECOND], count, 0),
        ):
            pass

    with gpus.reserved([H100, SECOND], 1, 0) as first:
        with gpus.reserved([H100, SECOND], 1, 0) as second:
            assert first != second
            refused(1)
        refused(2)
    with gpus.reserved([H100, SECOND], 2, 0) as both:
        assert both == [H100, SECOND]


def test_no_driver_is_a_sentence():
    with pytest.raises(KerneldefsError, match=r"no NVIDIA driver answers .* without a GPU"):
        gpus.visible()
