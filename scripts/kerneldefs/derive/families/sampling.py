"""Sampling from probabilities, by the filters that a batch of requests asks for.

SGLang filters by top-k and top-p together whichever is asked for, both on the probabilities as
given (the joint order). One filter after the other, and each alone, are variants. A request with
min-p has the probabilities filtered by top-k and then top-p, and is sampled from by min-p.
"""

from __future__ import annotations

from collections.abc import Iterator

from kerneldefs.capture.observe.ops import SAMPLER
from kerneldefs.capture.record import KernelCall
from kerneldefs.derive.equivalent import (
    F32,
    I32,
    REQUESTS,
    SAMPLING,
    Equivalent,
    Family,
    Options,
    fact,
    tensor_of,
)

_FILTERS = {
    "top_k_top_p_sampling": {"top_k": I32, "top_p": F32},
    "top_k_sampling": {"top_k": I32},
    "top_p_sampling": {"top_p": F32},
    "min_p_sampling": {"min_p": F32},
}
_RENORMALISED = {"top_k_renorm_probs": {"top_k": I32}, "top_p_renorm_probs": {"top_p": F32}}
_VARIANTS = ("top_k_top_p_sampling", "top_k_sampling", "top_p_sampling")


def _equivalents(call: KernelCall, options: Options) -> Iterator[Equivalent]:
    if call.scalars.get("is_all_greedy"):
        return  # takes the largest logit: no FlashInfer kernel, and no filter
    vocabulary = tensor_of(call, "logits").shape[-1]
    if call.scalars.get("need_min_p_sampling"):
        yield from (_renormalised(prefix, vocabulary) for prefix in _RENORMALISED)
        yield _sampling("min_p_sampling", vocabulary, "")
        return
    yield _sampling("top_k_top_p_sampling", vocabulary, "", joint=True)
    if SAMPLING in options.variants:
        for prefix in _VARIANTS:
            yield _sampling(prefix, vocabulary, SAMPLING)


def _sampling(prefix: str, vocabulary: int, variant: str, joint: bool = False) -> Equivalent:
    filters = {name: fact(dtype, REQUESTS) for name, dtype in _FILTERS[prefix].items()}
    return Equivalent(
        name=f"{prefix}_v{vocabulary}{'_joint' * joint}",
        op_type="sampling",
        api=f"flashinfer.sampling.{prefix}_from_probs",
        prefix=prefix,
        tensors={"probs": fact(F32, REQUESTS, vocabulary), **filters},
        scalars={"filter_apply_order": "joint"} if joint else {},
        outputs=(fact(I32, REQUESTS),),
        variant=variant,
        routed=not variant,
    )


def _renormalised(prefix: str, vocabulary: int) -> Equivalent:
    filters = {name: fact(dtype, REQUESTS) for name, dtype in _RENORMALISED[prefix].items()}
    probs = fact(F32, REQUESTS, vocabulary)
    return Equivalent(
        name=f"{prefix}_v{vocabulary}",
        op_type="sampling",
        api=f"flashinfer.sampling.{prefix}",
        prefix=prefix,
        tensors={"probs": probs, **filters},
        outputs=(probs,),
        routed=True,
    )


FAMILY = Family("sampling", (SAMPLER,), _equivalents)
