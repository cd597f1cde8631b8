"""Hooks and the net under them, on a small model with layers that stand in for SGLang's."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
from kerneldefs.capture.observe import hooks, layers, net, ops
from kerneldefs.capture.observe.observer import MODULE_TREE, Observer
from kerneldefs.capture.observe.seen import Seen
from kerneldefs.capture.record import KernelCall
from kerneldefs.capture.recorder import Recorder
from torch import nn


class RMSNorm(nn.Module):
    """A norm that binds its method when it is built, as SGLang's layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))
        self.variance_epsilon = 1e-5
        self.bound = self.forward_cuda

    def forward_cuda(self, x: Any, residual: Any = None) -> Any:
        return self.forward_native(x, residual)

    def forward_native(self, x: Any, residual: Any = None) -> Any:
        return x * self.weight

    def forward(self, *args: Any) -> Any:
        return self.bound(*args)


class LinearBase(nn.Module):
    """A linear layer that multiplies through its quantization method."""

    def __init__(self, n: int, k: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n, k))
        self.output_size_per_partition = n
        self.quant_method = Method()

    def forward(self, x: Any) -> Any:
        return self.quant_method.apply(self, x)


class Method:
    """Keeps a weight as it is."""

    def apply(self, layer: Any, x: Any, bias: Any = None) -> Any:
        return torch.nn.functional.linear(x, layer.weight)


class Model(nn.Module):
    """A layer of each kind, and two weights that no layer owns up to."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = RMSNorm()
        self.q_norm = RMSNorm()  # a fused kernel does its work
        self.proj = LinearBase(6, 8)
        self.gate = nn.Parameter(torch.zeros(4, 8))
        self.absorbed = torch.zeros(2, 8, 5)

    def forward(self, x: Any) -> Any:
        x = self.norm(x, x)
        self.proj(x)
        torch.bmm(x.expand(2, -1, -1), self.absorbed)
        return x.float() @ self.gate.float().T


class Indexer(nn.Module):
    """An indexer, which a backend may ask in vain."""

    n_heads, head_dim, index_topk = 2, 4, 3

    def __init__(self, chooses: bool) -> None:
        super().__init__()
        self.chooses = chooses
        self.weights_proj = nn.Linear(8, 2, bias=False)

    def forward_cuda(self, x: Any) -> Any:
        return torch.zeros(len(x), 3, dtype=torch.int32) if self.chooses else None

    def forward(self, x: Any) -> Any:
        return self.forward_cuda(x)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[KernelCall]:
    """What is recorded of one forward of the model."""
    place = types.ModuleType("stand_in")
    place.RMSNorm = RMSNorm  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stand_in", place)
    rows = (
        hooks.Hook("stand_in:RMSNorm", ("forward_cuda", "forward_native"), layers.norm),
        hooks.Hook("stand_in:Missing", ("forward",), layers.norm),
        hooks.Hook("stand_in:Seldom", ("forward",), layers.norm, optional=True),
    )
    monkeypatch.setattr(hooks, "HOOKS", rows)
    for cls in (RMSNorm, Method):  # hooks stay for as long as a process lives
        for name, value in vars(cls).copy().items():
            if callable(value):
                monkeypatch.setattr(cls, name, value)
    recorder = Recorder()
    observer = Observer(recorder)
    observer.install()
    model = Model()
    observer.follow(model)
    with torch.no_grad(), recorder.step("decode"), observer.watching():
        model(torch.zeros(3, 8))
    assert observer.finish() == ["SGLang has no stand_in:Missing, which is observed (2 times)"]
    return recorder.calls()


def of(calls: list[KernelCall], op: str) -> list[KernelCall]:
    """Return the calls of an op."""
    return [call for call in calls if call.op == op]


def test_layers_are_read_once_with_what_they_are(calls: list[KernelCall]) -> None:
    ran, fused = sorted(of(calls, ops.NORM), key=lambda call: call.phase)
    assert ran.phase == "decode" and ran.count == 1
    assert ran.scalars["style"] == "rmsnorm" and ran.scalars["eps"] == 1e-5
    assert ran.tensors["x"].shape == ran.tensors["residual"].shape == (3, 8)
    assert fused.phase == MODULE_TREE and fused.layer == "q_norm"
    assert "residual" not in fused.tensors


def test_linear_layers_claim_their_product(calls: list[KernelCall]) -> None:
    by_name = {call.scalars.get("weight_name"): call for call in of(calls, ops.LINEAR)}
    layer = by_name[None]
    assert layer.tensors["weight"].shape == (6, 8)
    assert layer.scalars["quantization"] == "none" and layer.scalars["kind"] == "LinearBase"
    assert set(by_name) == {None, ".gate"}  # a product of the layer is no second record


def test_the_net_finds_what_no_hook_claims(calls: list[KernelCall]) -> None:
    (gate,) = (c for c in of(calls, ops.LINEAR) if c.scalars.get("weight_name"))
    assert gate.tensors["weight"].shape == (4, 8)  # a cast of a weight is still the weight
    assert gate.outputs[0].shape == (3, 4)
    (absorbed,) = of(calls, ops.MATMUL)
    assert absorbed.scalars["operator"] == "aten::bmm"
    assert absorbed.tensors["weight"].shape == (2, 8, 5)


def test_an_operator_that_writes_its_product_is_a_linear_layer() -> None:
    @torch.library.custom_op("kerneldefs_test::gemm_into", mutates_args=["out"])
    def gemm_into(x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> None:
        out.copy_(x @ weight.T)

    found: list[Seen] = []
    weights, model = net.Weights(), nn.Linear(8, 4, bias=False)
    weights.learn(model)
    watching = net.OperatorNet(weights, lambda: False, lambda seen, out: found.append(seen))
    with torch.no_grad(), watching:
        gemm_into(torch.zeros(3, 8), model.weight, torch.zeros(3, 4))
    assert [seen.op for seen in found] == [ops.LINEAR]


def test_sizes_of_a_linear_layer_are_those_it_multiplies_by() -> None:
    repeated = LinearBase(6, 8)  # a part of it is on every rank, which its own sizes do not say
    repeated.output_size_per_partition = 24
    (seen,) = layers.linear(Method(), {"layer": repeated, "x": torch.zeros(3, 8)}, {})
    assert seen.tensors["weight"].shape == (6, 8)
    packed = LinearBase(6, 4)
    packed.weight = nn.Parameter(torch.zeros(6, 4, dtype=torch.uint8), requires_grad=False)
    x = torch.zeros(3, 4, dtype=torch.uint8)  # eight FP4 numbers a row
    (seen,) = layers.linear(Method(), {"layer": packed, "x": x}, {})
    assert seen.tensors["weight"].shape == (6, 8)


@pytest.mark.parametrize("chooses", [True, False])
def test_the_weights_of_an_indexer_that_chooses_are_told_by_the_module_tree(
    monkeypatch: pytest.MonkeyPatch, chooses: bool
) -> None:
    place = types.ModuleType("stand_in")
    place.Indexer = Indexer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stand_in", place)
    row = hooks.Hook("stand_in:Indexer", ("forward_cuda",), layers.indexer)
    monkeypatch.setattr(hooks, "HOOKS", (row,))
    monkeypatch.setattr(Indexer, "forward_cuda", Indexer.forward_cuda)  # hooks stay
    recorder = Recorder()
    observer = Observer(recorder)
    observer.install()
    model = nn.ModuleDict({"attn": nn.ModuleDict({"indexer": Indexer(chooses)})})
    observer.follow(model)
    model["attn"]["indexer"](torch.zeros(3, 8))
    observer.finish()
    (asked,) = of(recorder.calls(), ops.INDEXER)
    assert bool(asked.outputs) is chooses
    products = of(recorder.calls(), ops.LINEAR)
    assert [call.layer for call in products] == ["attn.indexer.weights_proj"] * chooses
    for call in products:
        assert call.phase == MODULE_TREE
        assert call.tensors["weight"].shape == (2, 8)
        assert call.outputs[0].dtype == "float32"


def test_a_product_that_a_fused_kernel_computes_is_told_by_the_module_tree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An NVFP4 MLP may never ask its first layer, whose weight is packed: 12 x 8 x 2 numbers."""
    monkeypatch.setattr(hooks, "HOOKS", ())
    monkeypatch.setattr(Method, "apply", Method.apply)  # hooks stay
    mlp = nn.Module()
    mlp.gate_up_proj = LinearBase(12, 8)
    mlp.gate_up_proj.input_size_per_partition = 16
    recorder = Recorder()
    for fuses in (False, True):
        mlp._enable_nvfp4_gemm_swiglu_fusion = fuses
        observer = Observer(recorder)
        observer.follow(nn.ModuleDict({"mlp": mlp}))
        assert observer.finish() == []
        assert len(of(recorder.calls(), ops.GATED_PRODUCT)) == int(fuses)
    (seen,) = of(recorder.calls(), ops.GATED_PRODUCT)
    assert (seen.layer, seen.phase) == ("mlp.gate_up_proj", MODULE_TREE)
    assert seen.tensors["x"].shape[1] == 16 and seen.tensors["weight"].shape == (12, 8)
    assert seen.outputs[0].shape[1:] == (3,)  # half of 12 columns, two numbers a byte


def test_a_call_that_cannot_be_read_is_a_warning_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(layer: Any, arguments: dict[str, Any], notes: dict[str, Any]) -> Any:
        raise AttributeError("this release has no such attribute")

    monkeypatch.setattr(hooks, "HOOKS", ())
    monkeypatch.setattr(Method, "apply", Method.apply)  # hooks stay
    monkeypatch.setattr(layers, "linear", broken)
    monkeypatch.setattr(Method, "apply", Method.apply)
    observer, model = Observer(Recorder()), Model()
    observer.follow(model)
    assert model.proj(torch.zeros(3, 8)).shape == (3, 6)
    (warning,) = observer.finish()
    assert "a call of Method was not read" in warning and "AttributeError" in warning
