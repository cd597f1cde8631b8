"""Names: FlashInfer's rule for the true axes, then a suffix for every difference in function."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kerneldefs.capture.record import Template
from kerneldefs.definition.draft import Quarantine

# What a file name, a URL and a dataset key can all hold.
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,199}")


def definition_name(
    template: Template, axes: Mapping[str, int], suffixes: Iterable[str] = ()
) -> str:
    """Return prefix, then abbreviation and value of each const axis in order, then the suffixes.

    The rule is TraceTemplate.definition_name's (flashinfer/trace/template.py, 0.6.18), which
    leaves out an axis without a value; here that is a quarantine, since the name would say less
    than the definition.
    """
    parts = [template.name_prefix or template.op_type]
    for name, axis in template.axes.items():
        abbrev = name if axis.abbrev is None else axis.abbrev
        if not axis.const or not abbrev:
            continue
        if name not in axes:
            raise Quarantine("axis-value", f"axis {name} has no value to build the name with")
        parts.append(f"{abbrev}{axes[name]}")
    return "_".join([*parts, *suffixes])


# Name prefix -> abbreviation and axis of each part, for a check that needs no template. Rows are
# FlashInfer 0.6.18's templates, the dataset's own families, and ours.
_GQA = (("h", "num_qo_heads"), ("kv", "num_kv_heads"), ("d", "head_dim"))
_MLA = (
    ("h", "num_qo_heads"),
    ("ckv", "head_dim_ckv"),
    ("kpe", "head_dim_kpe"),
    ("ps", "page_size"),
)
_MLA_RAGGED = (("h", "num_qo_heads"), ("qk", "head_dim_qk"), ("vo", "head_dim_vo"))
_HIDDEN = (("h", "hidden_size"),)
_VOCABULARY_SIZE = (("v", "vocab_size"),)
_EXPERTS = (("e", "num_local_experts"), ("h", "hidden_size"), ("i", "intermediate_size"))
_TRTLLM = (
    ("h", "num_heads"),
    ("kv", "num_kv_heads"),
    ("d", "head_dim"),
    ("ps", "page_size"),
)
PARTS: dict[str, tuple[tuple[str, str], ...]] = {
    "fused_add_rmsnorm": _HIDDEN,
    "gemm": (("n", "N"), ("k", "K")),
    "gqa_paged_decode": (*_GQA, ("ps", "page_size")),
    "gqa_paged_prefill": (*_GQA, ("ps", "page_size")),
    "gqa_paged_prefill_causal": (*_GQA, ("ps", "page_size")),
    "gqa_ragged": _GQA,
    "gqa_ragged_prefill_causal": _GQA,
    "merge_state": (("h", "num_heads"), ("d", "head_dim")),
    "min_p_sampling": _VOCABULARY_SIZE,
    "mla_paged_decode": _MLA,
    "mla_paged_prefill_causal": _MLA,
    "mla_ragged_prefill_causal": _MLA_RAGGED,
    "mla_ragged_prefill_noncausal": _MLA_RAGGED,
    "moe_fp8_block_scale_ds_routing": (
        ("topk", "top_k"),
        ("ng", "n_group"),
        ("kg", "topk_group"),
        *_EXPERTS,
    ),
    "rmsnorm": _HIDDEN,
    "top_k_renorm_probs": _VOCABULARY_SIZE,
    "top_k_sampling_from_probs": _VOCABULARY_SIZE,
    "top_k_top_p_sampling": _VOCABULARY_SIZE,
    "top_k_top_p_sampling_from_probs": _VOCABULARY_SIZE,
    "top_p_renorm_probs": _VOCABULARY_SIZE,
    "top_p_sampling_from_probs": _VOCABULARY_SIZE,
    "trtllm_batch_context": _TRTLLM,
    "trtllm_batch_decode": _TRTLLM,
    "trtllm_batch_decode_mla_dense": (
        ("h", "num_heads"),
        ("d_qk", "head_dim_qk"),
        ("ckv", "kv_lora_rank"),
        ("kpe", "qk_rope_head_dim"),
        ("nope", "qk_nope_head_dim"),
        ("ps", "page_size"),
    ),
}


# A word of a name that may be a size: h32, topk8, N256. Some say what is computed instead: fp8.
_SIZE = re.compile(r"([A-Za-z]{1,4})(\d+)")
_MEANING = frozenset(
    ["act", "bf", "cap", "e2m", "e4m", "fp", "int", "m", "mxfp", "nvfp", "sm", "win"]
)
# Parts of names that stand for a size in every family; a v may be a version, as in fmha_v2.
_ABBREVIATIONS = frozenset({part for parts in PARTS.values() for part, _ in parts} - {"v"})


def size_in(word: str) -> int | None:
    """Return the size that a word of a name gives; None for a word that gives none.

    >>> size_in("kv8"), size_in("fp8"), size_in("decode")
    (8, None, None)
    """
    match = _SIZE.fullmatch(word)
    return int(match[2]) if match and match[1].lower() not in _MEANING else None


def contradictions(name: str, axes: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return where a name of a known family says something else than the const axes."""
    for prefix, parts in PARTS.items():
        if not re.match(rf"{prefix}_{parts[0][0]}\d", name):
            continue
        freed = [axis for _, axis in parts if axes.get(axis, {}).get("type") == "var"]
        if freed:
            return [f"the name is {name}, but {', '.join(freed)} can have any size"]
        values = {axis: axes.get(axis, {}).get("value") for _, axis in parts}
        expected = "_".join([prefix, *(f"{abbrev}{values[axis]}" for abbrev, axis in parts)])
        if None not in values.values() and not re.fullmatch(rf"{expected}(_\w.*)?", name):
            return [f"the name is {name}, its axes give {expected}"]
    sizes = {axis.get("value") for axis in axes.values()}
    words = [
        word
        for word in name.split("_")
        if word.rstrip("0123456789") in _ABBREVIATIONS and size_in(word) not in (None, *sizes)
    ]
    return [f"the name is {name}, and no const axis has the size of {word}" for word in words]
