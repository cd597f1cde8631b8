"""What SGLang meets in place of a GPU's own side."""

from __future__ import annotations

import types

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


LAYS_OUT = """
def lay_out(layer):
    for expert in range(layer.experts):
        layer.laid_out.append(expert)
"""


@pytest.mark.parametrize(("experts", "laid_out"), [(512, [0]), (1, [0]), (0, [])])
def test_one_expert_is_laid_out_for_all(experts: int, laid_out: list[int]):
    module = types.ModuleType("layouts")
    exec(LAYS_OUT, module.__dict__)
    layer = types.SimpleNamespace(experts=experts, laid_out=[])
    sglang_patches._for_one_expert(module, module.lay_out)(layer)
    assert layer.laid_out == laid_out
    assert "range" not in vars(module)


def test_every_expert_counts_again_where_laying_out_fails():
    module = types.ModuleType("layouts")
    exec(LAYS_OUT, module.__dict__)
    with pytest.raises(AttributeError):
        sglang_patches._for_one_expert(module, module.lay_out)(None)
    assert "range" not in vars(module)
