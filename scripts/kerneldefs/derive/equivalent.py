"""An observed call in FlashInfer's words: the API that does the same, its arguments, and the name.

Sizes that a definition leaves open (tokens, requests, pages) are fixed here: no definition depends
on them, and equal calls of different steps of the probe become one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kerneldefs.capture.observe.ops import contiguous
from kerneldefs.capture.record import KernelCall, TensorFact
from kerneldefs.definition.own import OwnTemplate
from kerneldefs.definition.variants import TEMPLATE_EPSILON, number

TOKENS = 16
REQUESTS = 4
PAGES = 64
BF16, F32, I32, I64 = "bfloat16", "float32", "int32", "int64"
FP8, U8 = "float8_e4m3fn", "uint8"

# Variants: what may be called by convention, and was not called in this capture.
PAGE_SIZE, SAMPLING, UNFUSED, QUANTIZATION, MTP = (
    "page_size",
    "sampling",
    "unfused",
    "quantization",
    "mtp",
)
VARIANTS = (PAGE_SIZE, SAMPLING, UNFUSED, QUANTIZATION, MTP)
PAGE_SIZES = (1, 64)


@dataclasses.dataclass(frozen=True)
class Options:
    """What to derive beyond what ran: which variants, and the page sizes of paged families."""

    variants: tuple[str, ...] = (PAGE_SIZE, SAMPLING)
    page_sizes: tuple[int, ...] = PAGE_SIZES


@dataclasses.dataclass(frozen=True)
class Equivalent:
    """One call of an API that computes what an observed call did.

    `name` is the family's own formula for the definition's name; the definition that comes of the
    template must bear it. `api` is FlashInfer's public path, "" where it has no such kernel.
    `prefix` names the template, of FlashInfer or `own`; `sizes` are the const axes that no input
    shows. Of an own template `main` is the input whose dtype the outputs have, and `suffixes` end
    the name. `template` says whether FlashInfer has a true trace template for the API, `routed`
    whether SGLang calls that API itself in some setting.
    """

    name: str
    op_type: str
    api: str
    prefix: str
    tensors: Mapping[str, TensorFact]
    scalars: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    outputs: tuple[TensorFact, ...] = ()
    plan: Mapping[str, Any] | None = None
    state: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    own: OwnTemplate | None = None
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    main: str = ""
    suffixes: tuple[str, ...] = ()
    variant: str = ""
    template: bool = True
    routed: bool = False

    @property
    def supported(self) -> bool:
        """Return whether FlashInfer has a kernel for it."""
        return bool(self.api)


class Underivable(Exception):
    """An observed call that no definition can be made of, with a cause id and a sentence."""

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause, self.reason = cause, reason


@dataclasses.dataclass(frozen=True)
class Family:
    """An op family: the ops that it reads, and their equivalents.

    `equivalents` may raise Underivable; the call then stands in the report.
    """

    name: str
    ops: tuple[str, ...]
    equivalents: Callable[[KernelCall, Options], Iterator[Equivalent]]


def fact(dtype: str, *shape: int) -> TensorFact:
    """Return a contiguous tensor's fact."""
    return contiguous(shape, dtype)


def planned(tensor: TensorFact) -> dict[str, Any]:
    """Return a tensor as plan facts hold it."""
    return dataclasses.asdict(tensor)


def tensor_of(call: KernelCall, name: str) -> TensorFact:
    """Return a tensor of an observed call; a missing one is Underivable."""
    if name not in call.tensors:
        raise Underivable("no-tensor", f"{call.op} was seen without a tensor {name}")
    return call.tensors[name]


def epsilon_suffix(eps: float) -> str:
    """Return what a norm's name says of its epsilon: nothing for the template's own."""
    return "" if eps == TEMPLATE_EPSILON else f"_eps{number(eps)}"


_SHORT = {BF16: "bf16", "float16": "fp16", F32: "fp32", FP8: "fp8"}


def short(dtype: str) -> str:
    """Return a dtype as names have it."""
    return _SHORT.get(dtype, dtype)
