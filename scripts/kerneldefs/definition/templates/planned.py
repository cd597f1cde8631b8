"""Schemas of attention whose offsets, masks and caches plan() takes."""

from __future__ import annotations

import dataclasses

from kerneldefs.definition.own import OwnTemplate

_HEADS: dict[str, tuple[str | None, str]] = {
    "num_qo_heads": ("h", "Number of query heads on one rank."),
    "num_kv_heads": ("kv", "Number of key and value heads on one rank."),
    "head_dim": ("d", "Width of a head."),
}
_PAGED: dict[str, tuple[str | None, str]] = {
    "page_size": ("ps", "Tokens per page."),
    "num_pages": (None, "Number of pages of the cache."),
    "len_indptr": (None, "Number of requests + 1."),
    "num_kv_indices": (None, "Number of pages of all requests."),
}
_CACHE = ("num_pages", "page_size", "num_kv_heads", "head_dim")
_OFFSETS = "Where each request's {} start; the last entry is their number."
_LAST = "Tokens of each request's last page."
_SCALE = (None, "Factor of the logits.")
_LSE = "Base-2 log-sum-exp of the logits."
_PAGES = "num_kv_indices == kv_indptr[-1].item()"
_STATUS = "status:unverified"

BATCH = OwnTemplate(
    op_type="gqa_paged",
    name_prefix="batch_attention_run_causal",
    description=(
        "Batched causal attention over a paged cache, prefill and decode in one. The last query "
        "of a request stands at its last key."
    ),
    tags=(_STATUS,),
    axes={
        **_HEADS,
        **_PAGED,
        "total_q": (None, "Number of query tokens of all requests."),
        "batch_size": (None, "Number of requests."),
    },
    inputs={
        "q": (("total_q", "num_qo_heads", "head_dim"), "Queries."),
        "k_cache": (_CACHE, "Keys."),
        "v_cache": (_CACHE, "Values."),
        "qo_indptr": (("len_indptr",), _OFFSETS.format("queries")),
        "kv_indptr": (("len_indptr",), _OFFSETS.format("pages")),
        "kv_indices": (("num_kv_indices",), "Pages of each request."),
        "kv_len": (("batch_size",), "Tokens of each request."),
        "sm_scale": _SCALE,
    },
    outputs={
        "output": (("total_q", "num_qo_heads", "head_dim"), None, "Attention output."),
        "lse": (("total_q", "num_qo_heads"), "float32", _LSE),
    },
    constraints=("len_indptr == batch_size + 1", "total_q == qo_indptr[-1].item()", _PAGES),
    reference="batch_attention_run",
)
RAGGED = OwnTemplate(
    op_type="gqa_ragged",
    name_prefix="cute_dsl_batch_prefill_run_causal",
    description=(
        "Batched causal prefill attention over contiguous keys and values. The last query of a "
        "request stands at its last key."
    ),
    tags=("backend:cute-dsl", "stage:prefill", _STATUS),
    axes={
        **_HEADS,
        "len_indptr": _PAGED["len_indptr"],
        "total_q": BATCH.axes["total_q"],
        "total_kv": (None, "Number of key tokens of all requests."),
    },
    inputs={
        "q": BATCH.inputs["q"],
        "k": (("total_kv", "num_kv_heads", "head_dim"), "Keys."),
        "v": (("total_kv", "num_kv_heads", "head_dim"), "Values."),
        "qo_indptr": BATCH.inputs["qo_indptr"],
        "kv_indptr": (("len_indptr",), _OFFSETS.format("keys")),
        "sm_scale": _SCALE,
    },
    outputs=BATCH.outputs,
    constraints=("total_q == qo_indptr[-1].item()", "total_kv == kv_indptr[-1].item()"),
    reference="gqa_ragged_prefill",
)
LEVELS = {"0": "shared keys", "1": "own keys"}
CASCADE = OwnTemplate(
    op_type="cascade_attention",
    name_prefix="multi_level_cascade_run_noncausal",
    description=(
        "Attention over two levels of a paged cache: keys that requests share, then each "
        "request's own, as if they were one. Non-causal: every query sees every key."
    ),
    tags=(_STATUS,),
    axes={
        **_HEADS,
        "page_size": _PAGED["page_size"],
        "num_pages": _PAGED["num_pages"],
        "kv_cache_dim": ("", "Keys, then values."),
        "total_q": BATCH.axes["total_q"],
        **{f"len_indptr_{n}": (None, f"Parts of the {what} + 1.") for n, what in LEVELS.items()},
        **{f"batch_size_{n}": (None, f"Parts of the {what}.") for n, what in LEVELS.items()},
        **{f"num_kv_indices_{n}": (None, f"Pages of the {what}.") for n, what in LEVELS.items()},
    },
    inputs={
        "q": BATCH.inputs["q"],
        "paged_kv_cache": (
            ("num_pages", "kv_cache_dim", "page_size", "num_kv_heads", "head_dim"),
            "Keys and values.",
        ),
        **{
            f"{name}_{n}": ((f"{axis}_{n}",), f"{text} Of the {what}.")
            for n, what in LEVELS.items()
            for name, axis, text in (
                ("qo_indptr", "len_indptr", "Where the queries of each part start."),
                ("kv_indptr", "len_indptr", "Where the pages of each part start."),
                ("kv_indices", "num_kv_indices", "Pages."),
                ("kv_last_page_len", "batch_size", "Tokens of each part's last page."),
            )
        },
        "sm_scale": _SCALE,
    },
    outputs={"output": BATCH.outputs["output"]},
    constraints=tuple(
        text
        for n in LEVELS
        for text in (
            f"len_indptr_{n} == batch_size_{n} + 1",
            f"total_q == qo_indptr_{n}[-1].item()",
            f"num_kv_indices_{n} == kv_indptr_{n}[-1].item()",
        )
    ),
    reference="multi_level_cascade_run",
    constants={"CAUSAL": False},
)
_DECODE: dict[str, tuple[tuple[str, ...], str]] = {
    "q_d": (("batch_size", "num_qo_heads", "head_dim"), "Queries of the decodes."),
    "k_cache_d": (_CACHE, "Their keys."),
    "v_cache_d": (_CACHE, "Their values."),
    "kv_indptr_d": (("len_indptr",), _OFFSETS.format("pages")),
    "kv_indices_d": (("num_kv_indices",), "Pages of each decode."),
    "kv_last_page_len_d": (("batch_size",), _LAST),
}
POD = OwnTemplate(
    op_type="pod",
    name_prefix="pod_run_causal",
    description="Causal prefill attention of one request, beside decodes over a paged cache.",
    tags=(_STATUS,),
    axes={
        **_HEADS,
        **_PAGED,
        "qo_len": (None, "Queries of the prefill."),
        "kv_len": (None, "Keys of the prefill."),
        "batch_size": (None, "Number of decodes."),
    },
    inputs={
        "q_p": (("qo_len", "num_qo_heads", "head_dim"), "Queries of the prefill."),
        "k_p": (("kv_len", "num_kv_heads", "head_dim"), "Its keys."),
        "v_p": (("kv_len", "num_kv_heads", "head_dim"), "Its values."),
        **_DECODE,
        "sm_scale": _SCALE,
    },
    outputs={
        "output_p": (("qo_len", "num_qo_heads", "head_dim"), None, "Of the prefill."),
        "output_d": (("batch_size", "num_qo_heads", "head_dim"), None, "Of the decodes."),
    },
    constraints=("len_indptr == batch_size + 1", "num_kv_indices == kv_indptr_d[-1].item()"),
    reference="pod_run",
)
_CACHE_P = ("num_pages_p", *_CACHE[1:])
BATCH_POD = dataclasses.replace(
    POD,
    name_prefix="batch_pod_run_causal",
    description="Causal prefill attention, beside decodes, each over a paged cache.",
    axes={
        **_HEADS,
        **_PAGED,
        "batch_size": POD.axes["batch_size"],
        "total_q": (None, "Queries of all prefills."),
        "num_pages_p": (None, "Pages of the prefills' cache."),
        "batch_size_p": (None, "Number of prefills."),
        "len_indptr_p": (None, "Number of prefills + 1."),
        "num_kv_indices_p": (None, "Pages of all prefills."),
    },
    inputs={
        "q_p": (("total_q", "num_qo_heads", "head_dim"), "Queries of the prefills."),
        "k_cache_p": (_CACHE_P, "Their keys."),
        "v_cache_p": (_CACHE_P, "Their values."),
        "qo_indptr_p": (("len_indptr_p",), _OFFSETS.format("queries")),
        "kv_indptr_p": (("len_indptr_p",), _OFFSETS.format("pages")),
        "kv_indices_p": (("num_kv_indices_p",), "Pages of each prefill."),
        "kv_last_page_len_p": (("batch_size_p",), _LAST),
        **_DECODE,
        "sm_scale": _SCALE,
    },
    outputs={
        "output_p": (("total_q", "num_qo_heads", "head_dim"), None, "Of the prefills."),
        "output_d": POD.outputs["output_d"],
    },
    constraints=(
        *POD.constraints,
        "len_indptr_p == batch_size_p + 1",
        "total_q == qo_indptr_p[-1].item()",
        "num_kv_indices_p == kv_indptr_p[-1].item()",
    ),
    reference="batch_pod_run",
)
PACKED = OwnTemplate(
    op_type="trtllm_paged",
    name_prefix="trtllm_fmha_v2_prefill",
    description="Batched causal attention; queries, keys and values lie side by side.",
    tags=("backend:trtllm", "stage:prefill", _STATUS),
    axes={
        "num_heads": ("h", "Number of heads on one rank."),
        "head_dim": _HEADS["head_dim"],
        "qkv_dim": ("", "Queries, keys, values."),
        "num_tokens": (None, "Tokens of all requests."),
        "batch_size_plus_1": (None, "Number of requests + 1."),
    },
    inputs={
        "qkv": (("num_tokens", "qkv_dim", "num_heads", "head_dim"), "Queries, keys and values."),
        "cum_seq_lens_q": (("batch_size_plus_1",), _OFFSETS.format("tokens")),
        "bmm1_scale": _SCALE,
        "bmm2_scale": (None, "Factor of the output."),
    },
    outputs={"output": (("num_tokens", "num_heads", "head_dim"), None, "Attention output.")},
    constraints=("num_tokens == cum_seq_lens_q[-1].item()",),
    reference="trtllm_fmha_v2_prefill",
)
