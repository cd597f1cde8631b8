"""Sizes and requests: small, consistent, real where memory allows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.definition.execution.plan import plan, split
from kerneldefs.definition.execution.sizes import NoSizes, choose, cost

from .make import definition

PAGED = {
    "q": (["batch_size", "h", "d"], "float32"),
    "kv_indptr": (["len_indptr"], "int32"),
    "kv_indices": (["num_kv_indices"], "int32"),
}


def paged(**more: Any) -> dict[str, Any]:
    """Return a definition of a paged decode."""
    outputs = {"y": (["batch_size", "h", "d"], "float32")}
    return definition("", PAGED, outputs, consts={"h": 4, "d": 16}, **more)


def moe(experts: int, local: int, hidden: int = 1024, intermediate: int = 512) -> dict[str, Any]:
    """Return a definition with the weights of many experts."""
    inputs = {
        "logits": (["seq_len", "num_experts"], "float32"),
        "w1": (["num_local_experts", "gemm1_out_size", "hidden_size"], "float8_e4m3fn"),
        "w2": (["num_local_experts", "hidden_size", "intermediate_size"], "float8_e4m3fn"),
    }
    consts = {
        "num_experts": experts,
        "num_local_experts": local,
        "hidden_size": hidden,
        "gemm1_out_size": 2 * intermediate,
        "intermediate_size": intermediate,
    }
    outputs = {"y": (["seq_len", "hidden_size"], "bfloat16")}
    return definition("", inputs, outputs, consts=consts)


def test_axes_of_one_request_list_agree() -> None:
    constraints = ["len_indptr == batch_size + 1", "num_kv_indices == kv_indptr[-1].item()"]
    axes = choose(paged(constraints=constraints)).axes
    assert axes == {"batch_size": 3, "h": 4, "d": 16, "len_indptr": 4, "num_kv_indices": 9}


@pytest.mark.parametrize(
    ("constraint", "name", "size"),
    [
        ("a == c + 1", "a", 5),
        ("c * 16 == m", "c", 4),
        ("2 * a == c", "c", 8),
        ("a == ((m + 127) // 128) * 128", "a", 128),
        ("a > 30", "a", 31),
        ("a % 3 == 0 and a > c", "a", 6),
    ],
)
def test_constraints_set_var_axes(constraint: str, name: str, size: int) -> None:
    inputs = {"x": (["a", "c", "m"], "float32")}
    case = definition("", inputs, {"y": (["a"], "float32")}, constraints=[constraint])
    case["axes"]["m"]["value"] = 64
    assert choose(case).axes[name] == size


@pytest.mark.parametrize("constraint", ["m == 9", "n > 1000000", "n == m *", "n == m ** 2"])
def test_constraints_that_cannot_hold_are_said(constraint: str) -> None:
    case = definition("", constraints=[constraint])
    with pytest.raises(NoSizes, match=r"constraint|sizes"):
        choose(case)


def test_what_fits_stays_real() -> None:
    sizes = choose(moe(256, 4))
    assert sizes.scaled == ()
    assert sizes.axes["hidden_size"] == 1024


def test_experts_are_cut_first_and_it_is_said() -> None:
    sizes = choose(moe(256, 64), budget=20 << 20)
    assert sizes.scaled == ("num_local_experts 64 -> 2",)
    assert sizes.axes["num_experts"] == 256
    assert cost(moe(256, 64), sizes.axes) <= 20 << 20


def test_sizes_of_one_matrix_are_cut_in_proportion() -> None:
    axes = choose(moe(256, 2), budget=4 << 20).axes
    assert axes["gemm1_out_size"] == 2 * axes["intermediate_size"] < 1024
    assert axes["hidden_size"] == 1024


def test_too_large_is_said() -> None:
    with pytest.raises(NoSizes, match="more than 1 MB, however scaled"):
        choose(definition("", consts={"m": 1 << 22}), budget=1 << 20)


def test_plan_of_paged_requests() -> None:
    case = paged()
    requests = plan(case, choose(case).axes)
    assert requests.pages == (3, 2, 4) and requests.keys == (3, 2, 4)
    assert requests.queries == (1, 1, 1)


@pytest.mark.parametrize("page_size", [1, 2, 64])
def test_keys_are_never_fewer_than_queries(page_size: int) -> None:
    inputs = {
        "query": (["num_tokens", "d"], "float32"),
        "cache": (["num_pages", "page_size", "d"], "float32"),
        "block_tables": (["batch_size", "max_pages_per_seq"], "int32"),
        "seq_lens": (["batch_size"], "int32"),
        "cum_seq_lens_q": (["batch_size_plus_1"], "int32"),
    }
    case = definition("", inputs, consts={"d": 8, "page_size": page_size})
    requests = plan(case, choose(case).axes)
    for queries, keys in zip(requests.queries, requests.keys, strict=True):
        assert queries <= keys <= 4 * page_size


def test_last_pages_are_partly_filled_where_an_input_says_so() -> None:
    inputs = {
        "query": (["num_tokens", "d"], "float32"),
        "cache": (["num_pages", "page_size", "d"], "float32"),
        "block_tables": (["batch_size", "max_pages_per_seq"], "int32"),
        "seq_lens": (["batch_size"], "int32"),
        "cum_seq_lens_q": (["batch_size_plus_1"], "int32"),
    }
    case = definition("", inputs, consts={"d": 8, "page_size": 64})
    requests = plan(case, choose(case).axes)
    assert requests.queries == (2, 1, 3)
    for pages, keys in zip(requests.pages, requests.keys, strict=True):
        assert (pages - 1) * 64 < keys < pages * 64


@given(st.integers(0, 200), st.integers(1, 12))
def test_split(total: int, count: int) -> None:
    parts = split(total, count)
    assert sum(parts) == total and len(parts) == count
    assert min(parts) >= (1 if total >= count else 0)
