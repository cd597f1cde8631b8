"""A call for every trace template of the installed FlashInfer, without a GPU and without a model.

What no model of ours calls is still what FlashInfer can be asked for. Arguments are those of the
template's own `init`, else tensors of the declared shapes; they are described, never computed on.
A process that has used this module can capture nothing more: the GPU that it pretends stays.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import pkgutil
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from kerneldefs.capture.facts import describe, flattened, plan_facts, scalar, tensor_fact
from kerneldefs.capture.made import VAR_SIZES, made_arguments
from kerneldefs.capture.passed import INIT_SIZES, PASSED, PLANS, STATE
from kerneldefs.capture.record import KernelCall, Template
from kerneldefs.capture.simulate import kernels, stubs

PHASE = "template"
# Attributes of a wrapper that run() reads, from what plan() was told (flashinfer/prefill.py,
# 0.6.18); the layout is the constructor's default.
_PLANNED_STATE = {"causal": False, "logits_soft_cap": 0.0, "window_left": -1}
_LAYOUT = "NHD"


@dataclasses.dataclass(frozen=True)
class TemplateCall:
    """One template, what FlashInfer dumps for a call of it, and the call; or why there is none."""

    api: str
    prefix: str
    has_reference: bool
    source: str  # "init", "declaration", or why there are no arguments
    dumped: dict[str, Any] | None = None
    call: KernelCall | None = None
    template: Template | None = None


def template_calls() -> list[TemplateCall]:
    """Return a call of every registered or exported template, in a stable order."""
    found = [_template_call(*row) for row in registered()]
    return sorted(found, key=lambda item: (item.api, item.prefix))


def registered() -> Iterator[tuple[Callable[..., Any] | None, str, Any]]:
    """Yield (API, its path, template) of the registry, then of templates that no API carries.

    Compilers that are not installed are stubbed, as they are for a capture: their modules decorate
    APIs too.
    """
    stubs.install()
    kernels.install_cutlass_types()
    with _pretended_gpu():
        _import_every_api()
    api_logging = importlib.import_module("flashinfer.api_logging")
    rows: list[tuple[Callable[..., Any] | None, str, Any]] = []
    seen: set[tuple[str, int]] = set()
    for function, template, _ in api_logging._TRACE_REGISTRY:
        api = f"{function.__module__}.{function.__qualname__}"
        if (api, id(template)) not in seen:
            seen.add((api, id(template)))
            rows.append((function, api, template))
    yield from rows
    carried = {id(template) for _, _, template in rows}
    for api, template in _exported():
        if id(template) not in carried:
            carried.add(id(template))
            yield None, api, template


def _exported() -> Iterator[tuple[str, Any]]:
    template_type = importlib.import_module("flashinfer.trace.template").TraceTemplate
    package = importlib.import_module("flashinfer.trace.templates")
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for name, value in sorted(vars(module).items()):
            if isinstance(value, template_type):
                yield f"{module.__name__}.{name}", value


@contextlib.contextmanager
def _pretended_gpu() -> Iterator[None]:
    """Let FlashInfer's modules ask for the GPU while they are imported (gdn_kernels do, 0.6.18)."""
    properties = types.SimpleNamespace(
        name="pretended", major=9, minor=0, multi_processor_count=132, total_memory=80 << 30
    )
    answers = {
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_properties": lambda device=None: properties,
        "is_available": lambda: True,
    }
    real = {name: getattr(torch.cuda, name) for name in answers}
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(torch.cuda, name, function)


def _import_every_api() -> None:
    """Import the modules that decorate an API with a template; the package imports most itself."""
    package = importlib.import_module("flashinfer")
    root = Path(package.__path__[0])
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "flashinfer_api" in text and "trace=" in text:
            parts = path.relative_to(root).with_suffix("").parts
            module = ".".join(["flashinfer", *parts]).removesuffix(".__init__")
            with contextlib.suppress(ImportError, AttributeError):  # its compiler is not here
                importlib.import_module(module)


def _template_call(function: Callable[..., Any] | None, api: str, template: Any) -> TemplateCall:
    prefix = template.name_prefix or template.op_type
    row = TemplateCall(api, prefix, template.reference is not None, "")
    if function is None:
        return dataclasses.replace(row, source="no API carries it")
    passed, plan, source = _arguments(template)
    if passed is None:
        return dataclasses.replace(row, source=source)
    passed = {**passed, **PASSED.get(prefix, {})}
    if prefix in PLANS:
        plan = {**(plan or {}), **PLANS[prefix]}
    signature = inspect.signature(inspect.unwrap(function))
    arguments = _bound(signature, passed)
    record = describe(template, api, signature)
    dumped = template.build_fi_trace_fn(api)(save_dir=None, **passed)
    call = _call(api, arguments, signature, _planned(function, plan), dumped["name"])
    call = dataclasses.replace(call, state={**call.state, **STATE.get(prefix, {})})
    return dataclasses.replace(row, source=source, dumped=dumped, call=call, template=record)


def _arguments(template: Any) -> tuple[dict[str, Any] | None, dict[str, Any] | None, str]:
    """Return run()'s and plan()'s arguments and where they come from."""
    if template.init is None:
        return made_arguments(template), None, "declaration"
    accepted = inspect.signature(template.init).parameters
    chosen = {n: VAR_SIZES.get(n, 4) for n, p in accepted.items() if p.default is p.empty}
    chosen.pop("kwargs", None)
    chosen |= {n: size for n, size in VAR_SIZES.items() if n in accepted}
    chosen |= INIT_SIZES.get(template.name_prefix or template.op_type, {})
    from torch._subclasses.fake_tensor import FakeTensorMode

    errors = []
    for mode in (FakeTensorMode(), contextlib.nullcontext()):
        try:
            with mode:
                found = template.init(device="cpu", **chosen)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {str(error)[:120]}")
            continue
        if isinstance(found, dict) and set(found) <= {"plan", "run", "init"} and "run" in found:
            return found["run"], found.get("plan"), "init"
        return found, None, "init"
    return made_arguments(template), None, f"declaration (init failed: {errors[-1]})"


def _bound(signature: inspect.Signature, passed: dict[str, Any]) -> dict[str, Any]:
    """Return the call's arguments with the API's defaults, as a capture records them."""
    parameters = signature.parameters
    arguments = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.default is not parameter.empty
    }
    further = {n: v for n, v in passed.items() if n not in parameters}
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD and further:
            arguments[name] = further
    return {**arguments, **{n: v for n, v in passed.items() if n in parameters}}


def _planned(function: Callable[..., Any], plan: dict[str, Any] | None) -> dict[str, Any] | None:
    if plan is None:
        return None
    owner = function.__qualname__.rpartition(".")[0]
    wrapper = getattr(importlib.import_module(function.__module__), owner)
    arguments = _bound(inspect.signature(inspect.unwrap(wrapper.plan)), plan)
    return plan_facts(arguments)


def _call(
    api: str,
    arguments: dict[str, Any],
    signature: inspect.Signature,
    plan: dict[str, Any] | None,
    name: str,
) -> KernelCall:
    tensors, scalars = {}, {}
    for key, value in flattened(arguments, signature):
        if isinstance(value, torch.Tensor):
            tensors[key] = tensor_fact(value)
        else:
            scalars[key] = scalar(value)
    state = {}
    if plan is not None:
        state = {key: plan.get(key, default) for key, default in _PLANNED_STATE.items()}
        state["kv_layout"] = _LAYOUT
    return KernelCall(
        op=api,
        tensors=tensors,
        scalars=scalars,
        outputs=(),
        plan=plan,
        state=state,
        phase=PHASE,
        layer="",
        definition=name,
        template=name,
        marks=(),
        origin="template",
    )
