"""Records every call of a decorated FlashInfer API, beside FlashInfer's own dump.

It sits between FlashInfer's dumper and the API's body, so the dump stays FlashInfer's alone, and
needs no change to SGLang: `plan` is itself a decorated API whose bound arguments are remembered on
the wrapper for the run() calls that follow (`begin_forward` and `forward` are aliases of the two).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch

from kerneldefs.capture.facts import describe, flattened, plan_facts, scalar, tensor_fact
from kerneldefs.capture.record import KernelCall, Template, TensorFact

# A body as the recorder calls it: (function, template, bound arguments) -> (result, marks).
Body = Callable[[Callable[..., Any], Any, "inspect.BoundArguments"], tuple[Any, tuple[str, ...]]]

# What run() reads from a wrapper and forward() may have overwritten since plan().
_STATE = {
    "_causal": "causal",
    "_kv_layout": "kv_layout",
    "_logits_soft_cap": "logits_soft_cap",
    "_window_left": "window_left",
}
_PLAN = "_kerneldefs_plan"
_LAYER_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


def call_body(
    function: Callable[..., Any], template: Any, bound: inspect.BoundArguments
) -> tuple[Any, tuple[str, ...]]:
    """Run an API's own body: what a capture on a GPU does."""
    return function(*bound.args, **bound.kwargs), ()


def _path_of(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"


class Recorder:
    """Collects the distinct calls of one process, and how often each was made."""

    def __init__(
        self, body: Body = call_body, marks: Callable[[], tuple[str, ...]] = tuple
    ) -> None:
        self.phase = "load"
        self.templates: dict[str, Template] = {}
        self._body = body
        self._marks = marks
        self._calls: Counter[str] = Counter()
        self._by_key: dict[str, KernelCall] = {}
        self._traced: tuple[str, Any, str] | None = None  # api, template, dumped name
        self._modules: list[str] = []
        self._names: dict[int, str] = {}

    # ---- installation

    def install(self, api_logging: Any) -> None:
        """Hook FlashInfer's decorator; before any API is decorated.

        `api_logging` is the module flashinfer.api_logging.
        """
        from flashinfer.trace.template import TraceTemplate

        # The dumper renders a template's sources anew for every call.
        inspect.getsource = functools.cache(inspect.getsource)  # type: ignore[assignment]
        real_attach = api_logging._attach_fi_trace
        real_build = TraceTemplate.build_fi_trace_fn
        # Newer releases give what they moved the name that it had (api_logging.py, 0.7.2).
        name_of = getattr(api_logging, "_trace_fi_api_for", _path_of)
        recorder = self

        def attach(wrapped: Any, original: Any, trace_template: Any = None) -> Any:
            if original.__name__ == "__init__":  # constructors allocate; they launch no kernel
                return real_attach(wrapped, original, trace_template)
            recorded = recorder._recorded(wrapped, original, name_of(original))
            return real_attach(recorded, original, trace_template)

        def build(template: Any, api: str) -> Any:
            trace = real_build(template, api)

            @functools.wraps(trace)
            def traced(*args: Any, **kwargs: Any) -> Any:
                result = trace(*args, **kwargs)
                recorder._traced = (api, template, result["name"])
                return result

            return traced

        api_logging._attach_fi_trace = attach
        TraceTemplate.build_fi_trace_fn = build

    def follow(self, model: torch.nn.Module) -> None:
        """Note which module of the model each later call comes from."""
        self._names = {id(module): name for name, module in model.named_modules()}

        def enter(module: torch.nn.Module, args: Any) -> None:
            self._modules.append(self._names.get(id(module), ""))

        def leave(module: torch.nn.Module, args: Any, output: Any) -> None:
            self._modules.pop()

        torch.nn.modules.module.register_module_forward_pre_hook(enter)
        torch.nn.modules.module.register_module_forward_hook(leave, always_call=True)

    @contextlib.contextmanager
    def step(self, phase: str) -> Iterator[None]:
        """Calls made inside belong to this phase of the probe."""
        previous, self.phase = self.phase, phase
        try:
            yield
        finally:
            self.phase = previous

    # ---- recording

    def _recorded(self, wrapped: Any, original: Any, api: str) -> Any:
        signature = inspect.signature(original)

        @functools.wraps(wrapped)
        def call(*args: Any, **kwargs: Any) -> Any:
            traced, self._traced = self._traced, None
            template = name = None
            if traced is not None and traced[0] == api:
                template, name = traced[1], traced[2]
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = dict(bound.arguments)
            owner = arguments.pop("self", None)
            if original.__name__ in ("plan", "begin_forward") and owner is not None:
                setattr(owner, _PLAN, plan_facts(arguments))
            before = self._facts(api, owner, arguments, signature)
            result, marks = self._body(wrapped, template, bound)
            self._add(
                before, result, template and self._template(template, api, signature), name, marks
            )
            return result

        return call

    def _facts(
        self, api: str, owner: Any, arguments: dict[str, Any], signature: inspect.Signature
    ) -> dict[str, Any]:
        """What is known of a call before its body runs (and may write to its arguments)."""
        tensors: dict[str, TensorFact] = {}
        scalars: dict[str, Any] = {}
        for name, value in flattened(arguments, signature):
            if isinstance(value, torch.Tensor):
                tensors[name] = tensor_fact(value)
            else:
                scalars[name] = scalar(value)
        return {
            "op": api,
            "tensors": tensors,
            "scalars": scalars,
            "plan": getattr(owner, _PLAN, None),
            "state": {
                public: scalar(getattr(owner, private))
                for private, public in _STATE.items()
                if hasattr(owner, private)
            },
            "phase": self.phase,
            "layer": self._layer(),
        }

    def observe(
        self,
        op: str,
        tensors: dict[str, TensorFact],
        scalars: dict[str, Any],
        outputs: tuple[TensorFact, ...],
        layer: str | None = None,
    ) -> None:
        """Record a call that is none of FlashInfer's; `layer` None is the module that runs now."""
        facts = {
            "op": op,
            "tensors": tensors,
            "scalars": scalars,
            "plan": None,
            "state": {},
            "phase": self.phase,
            "layer": self._layer() if layer is None else _LAYER_NUMBER.sub("N", layer),
        }
        self._count(facts, outputs, None, None, ())

    def _layer(self) -> str:
        named = next((name for name in reversed(self._modules) if name), "")
        return _LAYER_NUMBER.sub("N", named)

    def _add(
        self,
        facts: dict[str, Any],
        result: Any,
        template: str | None,
        name: str | None,
        marks: tuple[str, ...],
    ) -> None:
        results = result if isinstance(result, (tuple, list)) else [result]
        outputs = tuple(tensor_fact(r) for r in results if isinstance(r, torch.Tensor))
        self._count(facts, outputs, template, name, marks)

    def _count(
        self,
        facts: dict[str, Any],
        outputs: tuple[TensorFact, ...],
        template: str | None,
        name: str | None,
        marks: tuple[str, ...],
    ) -> None:
        call = KernelCall(
            **facts,
            outputs=outputs,
            template=template,
            definition=name,
            marks=tuple(sorted({*marks, *self._marks()})),
        )
        key = repr(call)
        self._by_key[key] = call
        self._calls[key] += 1

    def _template(self, template: Any, api: str, signature: inspect.Signature) -> str:
        key = f"{api}:{template.name_prefix or template.op_type}"
        if key not in self.templates:
            self.templates[key] = describe(template, api, signature)
        return key

    def calls(self) -> list[KernelCall]:
        """Return the distinct calls with their counts."""
        return [
            dataclasses.replace(call, count=self._calls[key]) for key, call in self._by_key.items()
        ]
