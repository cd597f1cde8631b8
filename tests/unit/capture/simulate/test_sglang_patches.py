"""What SGLang meets in place of a GPU's own side."""

from __future__ import annotations

import pynvml
import pytest
from kerneldefs.capture.simulate import sglang_patches


def test_the_driver_of_this_machine_is_not_asked(monkeypatch: pytest.MonkeyPatch):
    """A simulated capture beside real GPUs is the same as on a machine without any."""
    for name in ("nvmlInit", "nvmlInitWithFlags"):
        monkeypatch.setattr(pynvml, name, lambda *flags: None)  # a driver that answers
    sglang_patches._hide_driver()
    for init in (pynvml.nvmlInit, pynvml.nvmlInitWithFlags):
        with pytest.raises(pynvml.NVMLError, match="Not Found"):
            init()


def test_a_pretended_workspace_has_the_name_of_the_real_class():
    class TRTLLMWorkspace:
        pass

    made = sglang_patches._workspace_class("trtllm", TRTLLMWorkspace)(world_size=2, rank=1)
    assert type(made).__name__ == "TRTLLMWorkspace"
    assert made.backend == "trtllm" and made.metadata["tp_rank"] == 1
