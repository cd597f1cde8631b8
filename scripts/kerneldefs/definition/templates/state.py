"""What keeps a state between calls: the gated delta rule's, a paged cache's; and drafts."""

from __future__ import annotations

from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Evidence, Received, View
from kerneldefs.definition.own import OwnTemplate, Retarget, always, by_name
from kerneldefs.definition.views import argument, split_cache

_STATE = ("num_seqs", "num_v_heads", "head_size", "head_size")
_ROW = "total_seq_len"
GDN_PREFILL = OwnTemplate(
    op_type="gdn",
    name_prefix="gdn_prefill_gates",
    description=(
        "Gated delta rule over sequences: the state [V, K] decays by g, forgets what it knows of "
        "a key and learns beta times the value; the output is the state times the query, over the "
        "square root of its width."
    ),
    tags=("stage:prefill", "status:unverified"),
    axes={
        "total_seq_len": (None, "Number of tokens of all sequences."),
        "num_seqs": (None, "Number of sequences."),
        "len_cu_seqlens": (None, "Number of sequences + 1."),
        "num_q_heads": ("qk", "Number of query heads."),
        "num_k_heads": ("", "Number of key heads."),
        "num_v_heads": ("v", "Number of value heads, and of states."),
        "head_size": ("d", "Width of a head."),
    },
    inputs={
        "q": ((_ROW, "num_q_heads", "head_size"), "Queries."),
        "k": ((_ROW, "num_k_heads", "head_size"), "Keys."),
        "v": ((_ROW, "num_v_heads", "head_size"), "Values."),
        "g": ((_ROW, "num_v_heads"), "What is left of the state, from 0 to 1."),
        "beta": ((_ROW, "num_v_heads"), "How much of a value is learned, from 0 to 1."),
        "initial_state": (_STATE, "States before the first token."),
        "cu_seqlens": (("len_cu_seqlens",), "Where each sequence starts; the last is their end."),
    },
    outputs={
        "output": ((_ROW, "num_v_heads", "head_size"), None, "Outputs."),
        "final_state": (_STATE, "float32", "States after the last token."),
    },
    constraints=(
        "len_cu_seqlens == num_seqs + 1",
        "total_seq_len == cu_seqlens[-1].item()",
        "num_v_heads % num_q_heads == 0",
        "num_v_heads % num_k_heads == 0",
    ),
    reference="gdn_prefill_gates",
)
_NEW = ("nnz_kv", "num_kv_heads", "head_dim")
_CACHE = ("num_pages", "page_size", "num_kv_heads", "head_dim")
APPEND = OwnTemplate(
    op_type="page_append",
    name_prefix="append_paged_kv_cache",
    description="Write new keys and values into a paged cache, each at its place in its request.",
    tags=("status:unverified",),
    axes={
        "nnz_kv": (None, "Number of new tokens."),
        "num_kv_heads": ("kv", "Number of key and value heads on one rank."),
        "head_dim": ("d", "Head dimension."),
        "page_size": ("ps", "Tokens per page."),
        "num_pages": (None, "Number of pages of the cache."),
        "batch_size": (None, "Number of requests."),
        "len_indptr": (None, "Number of requests + 1."),
        "num_kv_indices": (None, "Number of pages of all requests."),
    },
    inputs={
        "append_key": (_NEW, "New keys."),
        "append_value": (_NEW, "New values."),
        "batch_indices": (("nnz_kv",), "Request of each new token."),
        "positions": (("nnz_kv",), "Position of each new token in its request."),
        "k_cache": (_CACHE, "Keys."),
        "v_cache": (_CACHE, "Values."),
        "kv_indices": (("num_kv_indices",), "Pages of each request."),
        "kv_indptr": (
            ("len_indptr",),
            "Where each request's pages start; the last entry is their number.",
        ),
        "kv_last_page_len": (("batch_size",), "Tokens on the last page, the new ones included."),
    },
    outputs={
        "k_cache_out": (_CACHE, None, "Keys with the new ones."),
        "v_cache_out": (_CACHE, None, "Values with the new ones."),
    },
    constraints=("len_indptr == batch_size + 1",),
    reference="append_paged_kv_cache",
)
_DRAFTS = (("batch_size",), "int32")
CHAIN = OwnTemplate(
    op_type="sampling",
    name_prefix="chain_speculative_sampling",
    description=(
        "Chain speculative sampling: drafted tokens up to the first rejected one, then a token of "
        "what the target has more than the draft; -1 behind it."
    ),
    tags=("status:unverified",),
    axes={
        "vocab_size": ("v", "Number of tokens."),
        "batch_size": (None, "Number of rows."),
        "num_speculative": (None, "Drafted tokens of a row."),
        "num_speculative_plus_1": (None, "Drafted tokens of a row + 1."),
    },
    inputs={
        "draft_probs": (("batch_size", "num_speculative", "vocab_size"), "The draft's."),
        "draft_token_ids": (("batch_size", "num_speculative"), "Drafted tokens."),
        "target_probs": (("batch_size", "num_speculative_plus_1", "vocab_size"), "The target's."),
    },
    outputs={
        "output_token_ids": (("batch_size", "num_speculative_plus_1"), "int32", "Tokens."),
        "output_accepted_token_num": (*_DRAFTS, "Accepted, if each were looked at."),
        "output_emitted_draft_token_num": (*_DRAFTS, "Drafted tokens in the output."),
    },
    constraints=("num_speculative_plus_1 == num_speculative + 1",),
    reference="chain_speculative_sampling",
)


def _with_states(evidence: Evidence) -> OwnTemplate:
    if evidence.scalar("output_final_state") is not True:
        raise Quarantine("argument-not-modelled", "no final state was asked for")
    for name in ("g", "beta", "initial_state"):
        argument(evidence.call, name)
    if argument(evidence.call, "v").shape[1] < argument(evidence.call, "q").shape[1]:
        raise Quarantine("head-dims", "there are fewer value heads than query heads")
    if evidence.scalar("scale") not in (None, 0, 0.0):
        raise Quarantine("argument-not-modelled", "another scale was asked for")
    return GDN_PREFILL


def _appended(evidence: Evidence) -> View:
    pair = split_cache(evidence.call, "paged_kv_cache")
    received = {
        key: Received(tensor=cache) for key, cache in zip(("k_cache", "v_cache"), pair, strict=True)
    }
    return View(received, {}, frozenset({"paged_kv_cache"}))


ROWS: dict[str, Retarget] = {
    "chunk_gated_delta_rule": Retarget(
        "flashinfer/trace/templates/gdn.py (0.6.18): computes gates that the API is given",
        _with_states,
        by_name("output_final_state", "output_state", "scale"),
        "v",
    ),
    "append_paged_kv_cache": Retarget(
        "flashinfer/trace/templates/page.py (0.6.18): declares a pair of caches as one of 4-D",
        always(APPEND),
        _appended,
        "append_key",
    ),
    "chain_speculative_sampling": Retarget(
        "flashinfer/trace/templates/sampling.py (0.6.18): takes the most likely tokens, and "
        "declares one of three outputs",
        always(CHAIN),
        by_name(),
        "target_probs",
    ),
}
