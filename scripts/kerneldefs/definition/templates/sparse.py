"""Attention over blocks of keys, which plan() takes and FlashInfer's templates do not declare."""

from __future__ import annotations

import dataclasses

from kerneldefs.definition.evidence import Evidence, View
from kerneldefs.definition.own import OwnTemplate, Retarget, always
from kerneldefs.definition.templates.attention import plain
from kerneldefs.definition.views import planned, size

_DENSE = "flashinfer/trace/templates/attention.py (0.6.18): the reference is dense attention"
_SCALE = (None, "Factor of the logits.")
_QUERIES = (None, "Number of queries.")
_KEYS = (None, "Number of keys.")
_HEADS: dict[str, tuple[str | None, str]] = {
    "num_qo_heads": ("h", "Number of query heads on one rank."),
    "num_kv_heads": ("kv", "Number of key and value heads on one rank."),
    "head_dim": ("d", "Width of a head."),
}

BLOCKS = OwnTemplate(
    op_type="block_sparse",
    name_prefix="block_sparse_run",
    description=(
        "Attention of blocks of queries over the blocks of keys that are listed for them, as the "
        "columns of a sparse matrix in BSR."
    ),
    tags=("sparse:block", "status:unverified"),
    axes={
        **_HEADS,
        "R": ("r", "Queries of a block."),
        "C": ("c", "Keys of a block."),
        "qo_len": _QUERIES,
        "kv_len": _KEYS,
        "len_indptr": (None, "Blocks of queries + 1."),
        "nnz_blocks": (None, "Pairs of blocks."),
    },
    inputs={
        "q": (("qo_len", "num_qo_heads", "head_dim"), "Queries."),
        "k": (("kv_len", "num_kv_heads", "head_dim"), "Keys."),
        "v": (("kv_len", "num_kv_heads", "head_dim"), "Values."),
        "block_indptr": (("len_indptr",), "Where each block of queries starts in block_indices."),
        "block_indices": (("nnz_blocks",), "Blocks of keys of each block of queries."),
        "sm_scale": _SCALE,
    },
    outputs={"output": (("qo_len", "num_qo_heads", "head_dim"), None, "Attention output.")},
    constraints=(
        "qo_len == (len_indptr - 1) * R",
        "kv_len % C == 0",
        "nnz_blocks == block_indptr[-1].item()",
    ),
    reference="block_sparse_run",
)
VARIABLE = OwnTemplate(
    op_type="block_sparse",
    name_prefix="var_block_sparse_run",
    description=(
        "Attention of blocks of queries over chosen blocks of keys; blocks have sizes of their "
        "own, for each key head."
    ),
    tags=BLOCKS.tags,
    axes={
        **_HEADS,
        "qo_len": _QUERIES,
        "kv_len": _KEYS,
        "num_blocks_row": (None, "Blocks of queries."),
        "num_blocks_col": (None, "Blocks of keys."),
    },
    inputs={
        "q": (("num_qo_heads", "qo_len", "head_dim"), "Queries."),
        "k": (("num_kv_heads", "kv_len", "head_dim"), "Keys."),
        "v": (("num_kv_heads", "kv_len", "head_dim"), "Values."),
        "block_mask_map": (
            ("num_kv_heads", "num_blocks_row", "num_blocks_col"),
            "Which blocks of keys a block of queries sees.",
        ),
        "block_row_sz": (("num_kv_heads", "num_blocks_row"), "Queries of each block."),
        "block_col_sz": (("num_kv_heads", "num_blocks_col"), "Keys of each block."),
        "sm_scale": _SCALE,
    },
    outputs={"output": (("num_qo_heads", "qo_len", "head_dim"), None, "Attention output.")},
    constraints=(),
    reference="var_block_sparse_run",
)


def _blocks(evidence: Evidence) -> OwnTemplate:
    rows, columns = size(evidence.call, "R"), size(evidence.call, "C")
    constants = {"BLOCK_ROWS": rows, "BLOCK_COLUMNS": columns}
    return dataclasses.replace(BLOCKS, constants=constants)


def _view(names: dict[str, str], evidence: Evidence) -> View:
    call = evidence.call
    received = {key: planned(call, name) for key, name in names.items()}
    return View(received | {"sm_scale": plain(call, size(call, "head_dim"))})


ROWS: dict[str, Retarget] = {
    "BlockSparseAttentionWrapper.run": Retarget(
        _DENSE,
        _blocks,
        lambda e: _view({"block_indptr": "indptr", "block_indices": "indices"}, e),
        "q",
        lambda e: {"R": size(e.call, "R"), "C": size(e.call, "C")},
    ),
    "VariableBlockSparseAttentionWrapper.run": Retarget(
        _DENSE,
        always(VARIABLE),
        lambda e: _view({n: n for n in ("block_mask_map", "block_row_sz", "block_col_sz")}, e),
        "q",
    ),
}
