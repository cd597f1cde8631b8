import pytest
from kerneldefs.serving.hardware import DEFAULT_HARDWARE, HARDWARE, Hardware, find_hardware


@pytest.mark.parametrize(
    ("name", "arch", "gpus"),
    [
        ("A100", "sm_80", 8),
        ("H100", "sm_90", 8),
        ("H200", "sm_90", 8),
        ("B200", "sm_100", 8),
        ("GB200", "sm_100", 4),
        ("B300", "sm_103", 8),
        ("GB300", "sm_103", 4),
        ("RTX PRO 6000", "sm_120", 8),
        ("h200", "sm_90", 8),
    ],
)
def test_known_hardware(name: str, arch: str, gpus: int) -> None:
    found = find_hardware(name)
    assert isinstance(found, Hardware)
    assert (found.arch, found.gpus_per_node) == (arch, gpus)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MI300X", "MI300X is AMD hardware; FlashInfer's kernels are CUDA's"),
        ("H201", "hardware H201 is not known; nearest: H20, H200, H800"),
        ("abacus", "hardware abacus is not known"),
    ],
)
def test_other_hardware_is_a_reason(name: str, reason: str) -> None:
    assert find_hardware(name) == reason


def test_a_model_without_an_entry_is_planned_for_two_architectures() -> None:
    assert [HARDWARE[name].arch for name in DEFAULT_HARDWARE] == ["sm_90", "sm_100"]
