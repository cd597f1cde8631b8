"""The places where SGLang reaches for a GPU outside torch, FlashInfer and Triton."""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

from kerneldefs.capture.simulate.compiled import CompiledModule
from kerneldefs.capture.simulate.ledger import LEDGER

_WORKSPACE = {"use_fp32_lamport": False, "max_token_num": 1 << 30, "hidden_dim": 1 << 20}


def _workspace_class(name: str, whose: Any) -> type:
    """One of FlashInfer's own all-reduce workspace classes, without the memory that ranks share."""

    class Workspace(whose):  # type: ignore[misc]
        __abstractmethods__: frozenset[str] = frozenset()
        backend = name
        workspace_tensor = None
        mem_handles = ()

        def __init__(self, *args: Any, world_size: int = 1, rank: int = 0, **kwargs: Any) -> None:
            ranks = {"tp_size": world_size, "tp_rank": rank}
            self.__dict__.update(ranks, world_size=world_size, rank=rank)
            self.__dict__["metadata"] = {**_WORKSPACE, **ranks}

        def __getattr__(self, name: str) -> None:
            return None

        def __del__(self) -> None:
            pass

        def is_buffer_size_sufficient(self, *args: Any, **kwargs: Any) -> bool:
            return True

        def destroy(self) -> None:
            pass

    Workspace.__name__ = whose.__name__  # which a call's record tells
    return Workspace


def _hide_driver() -> None:
    """Answer as a machine without a driver, also on one that has it.

    What NVML says of this machine's own GPUs is not what is pretended, and SGLang would make memory
    that they share.
    """
    import pynvml

    def absent(*args: Any, **kwargs: Any) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    for name in ("nvmlInit", "nvmlInitWithFlags"):
        setattr(pynvml, name, absent)


def before_import() -> None:
    """Replace what SGLang imports by name from FlashInfer, and what it asks the driver."""
    _hide_driver()
    from flashinfer.comm import allreduce

    trtllm = _workspace_class("trtllm", allreduce.TRTLLMAllReduceFusionWorkspace)
    mnnvl = _workspace_class("mnnvl", allreduce.MNNVLAllReduceFusionWorkspace)

    def make(*args: Any, backend: str = "auto", **kwargs: Any) -> Any:
        return (mnnvl if backend == "mnnvl" else trtllm)(*args, **kwargs)

    for name in ("flashinfer.comm", "flashinfer.comm.allreduce"):
        module: Any = importlib.import_module(name)
        module.create_allreduce_fusion_workspace = make


class _Nccl:
    """SGLang's NCCL communicator on a rank whose peers are not there."""

    def __init__(self, group: Any = None, device: Any = None, *args: Any, **kwargs: Any) -> None:
        import torch.distributed as dist

        self.device = device
        self.disabled = False
        self.available = True
        self.world_size = dist.get_world_size(group)
        self.rank = dist.get_rank(group)

    @contextlib.contextmanager
    def change_state(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        yield

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: LEDGER.skip("collective", f"nccl.{name}")


def _load_jit(name: Any = "unnamed", *args: Any, **kwargs: Any) -> CompiledModule:
    return CompiledModule("sglang kernel", str(name))


def install_kernels() -> None:
    """Replace the kernels that SGLang compiles when they are first used."""
    importlib.import_module("sglang.srt.utils")
    for name in ("sglang.kernels.jit.utils", "sglang.kernels.jit.utils.compile"):
        module: Any = importlib.import_module(name)
        module.load_jit = _load_jit


def _type(value: Any) -> type:
    """The class that a tensor has on a GPU: what is pretended is a tensor or a parameter."""
    if isinstance(value, torch.nn.Parameter):
        return type(value) if type(value) is not FakeTensor else torch.nn.Parameter
    return torch.Tensor if isinstance(value, FakeTensor) else type(value)


def _on_host(function: Any) -> Any:
    """The same function computed from a host copy: it reads a pretended tensor value by value."""

    def call(physical_to_logical_map: Any, *args: Any, **kwargs: Any) -> Any:
        copy = physical_to_logical_map.cpu()
        with _disable_current_modes(), torch._C.DisableTorchFunction():  # thousands of reads
            found = function(copy, *args, **kwargs)
        return found.to(physical_to_logical_map.device)

    return call


def _keep_patterns() -> None:
    """Compile a pattern once: NVFP4 models match every layer's name with hundreds of them.

    What `regex` itself spends on finding a compiled pattern is several times a match.
    """
    regex: Any = importlib.import_module("regex")
    original, compiled = regex.fullmatch, functools.cache(regex.compile)

    def fullmatch(pattern: Any, string: str, *further: Any, **options: Any) -> Any:
        if further or options or not isinstance(pattern, str):
            return original(pattern, string, *further, **options)
        return compiled(pattern).fullmatch(string)

    regex.fullmatch = fullmatch


def _for_one_expert(module: Any, function: Any) -> Callable[..., Any]:
    """A function of a module that lays out experts for FlashInfer's kernel, for the first alone.

    It writes each expert's rows into their place, one expert after the other, and they have no
    values: 512 experts take 512 times as long, and leave the same.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        module.range = lambda count: builtins.range(min(count, 1))
        try:
            return function(*args, **kwargs)
        finally:
            del module.range

    return call


def _lay_out_one_expert() -> None:
    """Shorten the layout of unquantized experts and of experts in NVFP4."""
    unquantized: Any = importlib.import_module("sglang.srt.layers.quantization.unquant")
    method = unquantized.UnquantizedFusedMoEMethod
    method.process_weights_after_loading = _for_one_expert(
        unquantized, method.process_weights_after_loading
    )
    fp4: Any = importlib.import_module("sglang.srt.layers.quantization.utils")
    fp4.prepare_static_weights_for_trtllm_fp4_moe = _for_one_expert(
        fp4, fp4.prepare_static_weights_for_trtllm_fp4_moe
    )


def install(tp: int, nodes: int = 1) -> None:
    """Replace communication between ranks, which fill the nodes in order and have workspaces."""
    places: Any = importlib.import_module("sglang.srt.eplb.expert_location")
    places._compute_logical_to_all_physical_map = _on_host(
        places._compute_logical_to_all_physical_map
    )
    _keep_patterns()
    # It compares the classes of a parameter and of what replaces it.
    quantization: Any = importlib.import_module("sglang.srt.layers.quantization.utils")
    quantization.type = _type
    _lay_out_one_expert()
    nccl: Any = importlib.import_module("sglang.srt.distributed.device_communicators.pynccl")
    nccl.PyNcclCommunicator = _Nccl
    per_node = -(-tp // nodes)
    fusion: Any = importlib.import_module("sglang.srt.layers.flashinfer_comm_fusion")
    fusion._preflight_check_workspace_memory = lambda *a, **k: True
    fusion.in_the_same_node_as = lambda group, source_rank=0: [
        rank // per_node == source_rank // per_node for rank in range(tp)
    ]
