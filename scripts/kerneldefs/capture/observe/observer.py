"""The observer: puts the hooks in place, keeps what they claim, and writes what they saw."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch

from kerneldefs.capture.observe import hooks, layers
from kerneldefs.capture.observe.net import OperatorNet, Weights
from kerneldefs.capture.observe.ops import INDEXER, contiguous
from kerneldefs.capture.observe.seen import Seen, results
from kerneldefs.capture.probe import NOT_TEXT
from kerneldefs.capture.record import TensorFact
from kerneldefs.capture.recorder import Recorder

_HOOKED = "_kerneldefs_hooked"
MODULE_TREE = "module tree"  # the phase of what a fused kernel did in a layer's place
_FUSES = "_enable_nvfp4_gemm_swiglu_fusion"  # of an MLP, which then never asks its gate_up_proj
_UNASKED = ".indexer.weights_proj"  # of sparse attention, which short prompts never ask
_ROWS = 4  # tokens of such a record; no definition depends on it


class Observer:
    """Watches one model in one process, and records through the recorder of FlashInfer's calls."""

    def __init__(self, recorder: Recorder) -> None:
        self.notes: dict[str, Any] = {}
        self.warnings: Counter[str] = Counter()
        self._recorder = recorder
        self._claims: list[Any] = []
        self._called: set[int] = set()
        self._weights = Weights()
        self._names: dict[int, str] = {}
        self._model: torch.nn.Module | None = None
        self._chooses = False  # an indexer does; backends that know none ask it in vain

    # ---- installation

    def install(self) -> None:
        """Hook SGLang's layer classes: before a model is built, since layers bind their methods."""
        for hook in hooks.HOOKS:
            owner = _find(hook.place)
            methods = [name for name in hook.methods if owner is not None and hasattr(owner, name)]
            if owner is None or not methods:
                if not hook.optional:
                    self.warnings[f"SGLang has no {hook.place}, which is observed"] += 1
                continue
            if isinstance(owner, type):
                for cls in [owner, *_subclasses(owner)]:
                    self._hook_class(cls, hook)
            else:
                for name in methods:
                    self._hook(owner, name, hook.read, is_function=True)

    def follow(self, model: torch.nn.Module) -> None:
        """Learn a loaded model's weights, and hook the classes that came with it."""
        self._model = model
        self._names = {id(module): name for name, module in model.named_modules()}
        self._weights.learn(model)
        self.install()
        for module in model.modules():
            method = getattr(module, "quant_method", None)
            if method is not None and _multiplies(module):
                for name in hooks.PRODUCTS:
                    self._hook(_definer(type(method), name), name, layers.linear)

    def _hook_class(self, cls: type, hook: hooks.Hook) -> None:
        for name in hook.methods:
            if name in vars(cls):
                self._hook(cls, name, hook.read)

    def _hook(self, owner: Any, name: str, read: layers.Reader, is_function: bool = False) -> None:
        original = vars(owner).get(name) if owner is not None else None
        if not callable(original) or hasattr(original, _HOOKED):
            return
        signature = inspect.signature(original)

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            subject = None if is_function else args[0]
            if self._claims and subject is not None and self._claims[-1] is subject:
                return original(*args, **kwargs)  # one method of a layer that calls another
            seen = self._read(read, subject, signature, args, kwargs)
            self._claims.append(subject)
            try:
                result = original(*args, **kwargs)
            finally:
                self._claims.pop()
            for item in seen:
                self._record(item, result)
            return result

        setattr(call, _HOOKED, True)
        setattr(owner, name, call)

    # ---- recording

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Catch operators that no hook claims, while the model runs."""
        self._weights.forget_copies()
        with OperatorNet(self._weights, lambda: bool(self._claims), self._record):
            yield
        self._weights.forget_copies()

    def _read(
        self, read: layers.Reader, subject: Any, signature: Any, args: Any, kwargs: Any
    ) -> list[Seen]:
        """Read a call; what cannot be read is a warning of the capture, and no record."""
        self._called.add(id(subject))
        try:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = dict(bound.arguments)
            if subject is not None:
                arguments.pop(next(iter(signature.parameters)))
            return list(read(subject, arguments, self.notes))
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            name = getattr(read, "__name__", "hook")
            text = f"{type(error).__name__}: {error}"
            self.warnings[
                f"a call of {type(subject).__name__} was not read by {name} ({text})"
            ] += 1
            return []

    def _record(self, seen: Seen, result: Any) -> None:
        outputs = tuple(results(result))
        self._chooses |= seen.op == INDEXER and bool(outputs)
        self._recorder.observe(seen.op, seen.facts(), seen.plain(), outputs)

    def finish(self) -> list[str]:
        """Record layers whose work a fused kernel did, and return what went wrong, in sentences.

        Norms of queries and keys and rotary embeddings are often fused into another kernel, which
        never calls the layer: what they compute is told by the module tree.
        """
        with self._recorder.step(MODULE_TREE):
            for name, module in self._modules():
                if id(module) not in self._called and not NOT_TEXT.search(name):
                    self._bypassed(name, module)
        return [f"{text} ({count} times)" for text, count in sorted(self.warnings.items())]

    def _modules(self) -> Iterator[tuple[str, torch.nn.Module]]:
        if self._model is not None:
            yield from self._model.named_modules()

    def _bypassed(self, name: str, module: torch.nn.Module) -> None:
        weight = getattr(module, "weight", None)
        kind = type(module).__name__
        if kind.endswith("RMSNorm") and isinstance(weight, torch.Tensor) and weight.ndim == 1:
            rows = contiguous((_ROWS, weight.shape[0]), str(weight.dtype).removeprefix("torch."))
            self._record_at(name, layers.norm_of(module, rows))
        if name.endswith(_UNASKED) and self._chooses:
            product, result = layers.indexer_weights(module, _ROWS)
            self._record_at(name, product, result)
        if getattr(module, _FUSES, False) and getattr(module, "swiglu_limit", None) is None:
            product, result = layers.gated_product(module, _ROWS)
            self._record_at(f"{name}.gate_up_proj", product, result)
        for rotary, heads, kv_heads in _bypassed_rotary(module, self._called):
            size = int(rotary.head_size)
            dtype = str(_model_dtype(module)).removeprefix("torch.")
            positions = contiguous((_ROWS,), "int64")
            query, key = (contiguous((_ROWS, n * size), dtype) for n in (heads, kv_heads))
            self._record_at(name, layers.rope_of(rotary, positions, query, key))

    def _record_at(self, layer: str, seen: Seen, *results: TensorFact) -> None:
        self._recorder.observe(seen.op, seen.facts(), seen.plain(), results, layer)


def _model_dtype(module: torch.nn.Module) -> torch.dtype:
    floats = (p.dtype for p in module.parameters() if p.dtype in (torch.bfloat16, torch.float16))
    return next(floats, torch.bfloat16)


def _bypassed_rotary(module: Any, called: set[int]) -> Iterator[tuple[Any, int, int]]:
    """Yield an attention block's rotary embedding that was never called, and the heads."""
    children: list[Any] = list(module.children())
    attention = next((c for c in children if hasattr(c, "tp_q_head_num")), None)
    for child in children:
        if attention is not None and hasattr(child, "rotary_dim") and id(child) not in called:
            yield child, attention.tp_q_head_num, attention.tp_k_head_num


def _find(place: str) -> Any:
    """Return the class or module of a hook's place; None where this release has none."""
    module, _, name = place.partition(":")
    try:
        found = importlib.import_module(module)
    except ImportError:
        return None
    return getattr(found, name, None) if name else found


def _subclasses(cls: type) -> Iterator[type]:
    children: list[type] = cls.__subclasses__()
    for child in children:
        yield child
        yield from _subclasses(child)


def _definer(cls: type, method: str) -> type | None:
    return next((base for base in cls.__mro__ if method in vars(base)), None)


def _multiplies(module: torch.nn.Module) -> bool:
    """Whether a module with a quantization method is a linear layer, and no experts or cache."""
    names = {base.__name__ for base in type(module).__mro__}
    return bool(names & {"LinearBase", "ParallelLMHead"})
