"""One cookbook entry -> the serving variants it asks for, or the reason why it is dropped."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from kerneldefs.serving.arguments import read_arguments
from kerneldefs.serving.cookbook import Entry
from kerneldefs.serving.hardware import Hardware, canonical, find_hardware
from kerneldefs.serving.modelconfig import ModelConfig
from kerneldefs.serving.quantization import LABELS
from kerneldefs.serving.settings import AUTO_BACKEND, Settings

_FORCED_OVER = ("decode_attention_backend", "prefill_attention_backend")


@dataclasses.dataclass(frozen=True)
class Variant:
    """What makes a serving config distinct; two variants that are equal call the same kernels."""

    arch: str
    tp: int
    dp: int
    ep: int
    enable_dp_attention: bool
    kv_cache_dtype: str
    page_size: int | None
    attention_backend: str | None
    moe_runner_backend: str | None
    arguments: tuple[tuple[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class Asked:
    """A variant, the hardware and entry that ask for it, and what was noted on the way."""

    variant: Variant
    hardware: Hardware
    entry: Entry
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Drop:
    """An entry, or a size of it, that no capture is made of. `entry` "" means the whole model."""

    cookbook: str
    hardware: str
    entry: str
    reason: str


def variants_of(
    entry: Entry, config: ModelConfig, settings: Settings
) -> tuple[list[Asked], list[Drop]]:
    """Expand one entry over tp_list, ep_list, page_sizes and attention_backends."""
    reason = _refusal(entry, settings)
    hardware = find_hardware(entry.hardware)
    if reason or isinstance(hardware, str):
        return [], [_drop(entry, reason or str(hardware))]
    read = read_arguments(
        entry.extra_args, dict(entry.env_vars), trust_remote_code=settings.trust_remote_code
    )
    arguments = dict(read.settings)
    tps = settings.tp_list or (arguments.pop("tp_size", entry.tp or 1),)
    eps = settings.ep_list or (arguments.pop("ep_size", entry.ep or 1),)
    pages = settings.page_sizes or (arguments.get("page_size"),)
    asked: list[Asked] = []
    drops: list[Drop] = []
    for tp, ep in itertools.product(tps, eps):
        parallel = _parallel(entry, dict(arguments), tp, ep, config)
        if isinstance(parallel, str):
            drops.append(_drop(entry, parallel))
            continue
        for page, backend in itertools.product(pages, settings.attention_backends):
            own, changed = _own_settings(arguments, backend, config)
            variant = Variant(
                arch=hardware.arch,
                kv_cache_dtype=own.pop("kv_cache_dtype", "auto"),
                page_size=page,
                attention_backend=own.pop("attention_backend", None),
                moe_runner_backend=own.pop("moe_runner_backend", None),
                arguments=tuple(sorted(own.items())),
                **parallel.sizes,
            )
            notes = (*entry.notes, *read.notes, *changed, *parallel.notes)
            notes += _remarks(entry, config, hardware, variant)
            asked.append(Asked(variant, hardware, entry, notes))
    return asked, drops


def _drop(entry: Entry, reason: str) -> Drop:
    return Drop(entry.cookbook, entry.hardware, entry.name, reason)


def _refusal(entry: Entry, settings: Settings) -> str | None:
    """Why an entry is dropped whatever its sizes."""
    wanted = {canonical(name) for name in settings.hardware}
    if wanted and canonical(entry.hardware) not in wanted:
        return f"hardware {entry.hardware} is not asked for"
    if entry.other_repository is not None:
        return f"serves another checkpoint; ask for it by model={entry.other_repository}"
    return None


@dataclasses.dataclass(frozen=True)
class _Parallel:
    sizes: dict[str, Any]
    notes: tuple[str, ...]


def _parallel(
    entry: Entry, arguments: dict[str, Any], tp: int, ep: int, config: ModelConfig
) -> _Parallel | str:
    """Settle TP, DP and EP as sglang.srt.arg_groups.parallel_hook does, or say why it would not."""
    dp: int = arguments.get("dp_size", entry.dp) or 1
    dp_attention = bool(arguments.get("enable_dp_attention", entry.enable_dp_attention))
    notes = []
    if dp_attention and dp == 1:
        notes.append("DP attention left off: SGLang turns it off at dp 1")
        dp_attention = False
    elif dp_attention and tp % dp:
        return f"dp {dp} does not divide tp {tp}, as DP attention needs"
    elif dp > 1 and not dp_attention:
        notes.append(f"dp {dp} without DP attention makes equal replicas: one is captured")
    if ep > 1 and not config.mixture_of_experts:
        notes.append(f"ep {ep} left out: the model has no experts")
        ep = 1
    reason = _ep_refusal(tp, ep, int(arguments.get("ep_num_redundant_experts", 0)), config)
    if reason is not None:
        return reason
    if ep > 1 and config.experts is None:
        notes.append("config.json names no number of experts, so ep was not checked against it")
    sizes = {"tp": tp, "dp": dp if dp_attention else 1, "ep": ep}
    return _Parallel({**sizes, "enable_dp_attention": dp_attention}, tuple(notes))


def _ep_refusal(tp: int, ep: int, redundant: int, config: ModelConfig) -> str | None:
    """Why SGLang cannot split the experts over `ep` of `tp` ranks; None where it can."""
    if ep > tp:
        return f"ep {ep} is larger than tp {tp}"
    if tp % ep:
        return f"ep {ep} does not divide tp {tp}"
    if config.experts is not None and (config.experts + redundant) % ep:
        return f"ep {ep} does not divide the {config.experts + redundant} experts"
    return None


def _own_settings(
    arguments: dict[str, Any], backend: str, config: ModelConfig
) -> tuple[dict[str, Any], list[str]]:
    """The entry's settings under one of `attention_backends`, and what was changed."""
    sizes = ("dp_size", "enable_dp_attention", "ep_size", "page_size", "tp_size")
    own = {key: value for key, value in arguments.items() if key not in sizes}
    notes = []
    if backend != AUTO_BACKEND:
        replaced = [f"{key} {own.pop(key)}" for key in _FORCED_OVER if key in own]
        if own.get("attention_backend", backend) != backend:
            replaced.append(f"attention_backend {own['attention_backend']}")
        notes += [f"the cookbook's {what} replaced by {backend}" for what in replaced]
        own["attention_backend"] = backend
    if "dtype" in own and own["dtype"] in ("auto", config.dtype):
        own.pop("dtype")  # says what config.json says
    return own, notes


def _remarks(
    entry: Entry, config: ModelConfig, hardware: Hardware, variant: Variant
) -> tuple[str, ...]:
    """What a reader of the config should know beside what was left out."""
    notes = []
    asked = dict(variant.arguments).get("quantization")
    label = (entry.quantization or "").lower()
    if label and config.quantization not in LABELS.get(label, {label}) and asked != label:
        notes.append(
            f"the cookbook's label says {label}, config.json says {config.quantization}, which "
            f"counts"
        )
    if config.dtype is None:
        notes.append("config.json names no data type, so SGLang chooses (float16 for most models)")
    if variant.tp > hardware.gpus_per_node:
        notes.append(
            f"tp {variant.tp} spans several {hardware.name} nodes of {hardware.gpus_per_node} "
            f"GPUs: only the simulated capture can run it"
        )
    return tuple(notes)


def default_entries(names: tuple[str, ...]) -> list[Entry]:
    """TP 1 on each hardware, for a model that no cookbook entry tells how to serve."""
    return [Entry("none", canonical(name), "default") for name in names]
