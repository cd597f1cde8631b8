"""Generated inputs: declared shapes and dtypes, valid, the same every time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kerneldefs.definition.execution import judge
from kerneldefs.definition.execution.inputs import NoInputs, generate

from .make import definition

Y = {"y": (["n"], "float32")}


def values(inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the inputs of a definition."""
    return generate(definition("", inputs, Y | more.pop("outputs", {}), **more)).values


def one(name: str, shape: list[str] | None, dtype: str, **more: Any) -> Any:
    """Return one input."""
    return values({name: (shape, dtype)}, **more)[name]


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float16", "bfloat16", "float8_e4m3fn", "int64", "int32", "int16", "int8", "bool"],
)
def test_any_input_has_its_shape_and_dtype(dtype: str) -> None:
    value = one("something", ["n", "m"], dtype)
    assert value.shape == (4, 8) and value.dtype == getattr(torch, dtype)
    assert torch.isfinite(value.float()).all()
    assert isinstance(one("something", None, dtype), (bool, int, float))


def test_large_tensors_are_made_of_a_pattern() -> None:
    value = one("w", ["a", "b"], "float8_e4m3fn", consts={"a": 2048, "b": 4096})
    assert value.shape == (2048, 4096) and value.float().std() > 0.1


def test_the_same_inputs_every_time() -> None:
    case = definition("", {"x": (["n", "m"], "float32"), "probs": (["n", "m"], "float32")})
    first, second = generate(case).values, generate(case).values
    assert judge.changed(first, second) == []
    assert judge.changed(first, generate(case, seed=1).values) == ["x", "probs"]


def test_offsets_end_where_the_tensors_do() -> None:
    inputs = {
        "q": (["total_q", "m"], "float32"),
        "k": (["total_kv", "m"], "float32"),
        "qo_indptr": (["len_indptr"], "int32"),
        "kv_indptr": (["len_indptr"], "int32"),
    }
    text = ["total_q == qo_indptr[-1].item()", "total_kv == kv_indptr[-1].item()"]
    found = generate(definition("", inputs, Y, constraints=text)).values
    for name, tokens in (("qo_indptr", "q"), ("kv_indptr", "k")):
        offsets = found[name]
        assert offsets[0] == 0 and offsets[-1] == len(found[tokens])
        assert (offsets.diff() > 0).all()
    assert (found["kv_indptr"].diff() >= found["qo_indptr"].diff()).all()  # for a causal mask


def test_a_broken_constraint_is_said() -> None:
    case = definition("", {"kv_indptr": (["len_indptr"], "int32")}, Y)
    case["constraints"] = ["kv_indptr[-1].item() == 7"]
    with pytest.raises(NoInputs, match=r"break the constraint 'kv_indptr"):
        generate(case)
    case["constraints"] = ["kv_indptr.numpy() == 7"]
    with pytest.raises(NoInputs, match="cannot be evaluated"):
        generate(case)


def test_shapes_in_constraints_do_not_read_large_tensors() -> None:
    inputs = {"x": (["a", "b"], "float32")}
    case = definition("", inputs, Y, consts={"a": 1024, "b": 1024})
    case["constraints"] = ["x.shape[0] == a"]
    generate(case)
    case["constraints"] = ["x[0][0] == a"]
    with pytest.raises(NoInputs, match="1048576 elements"):
        generate(case)


def test_pages_are_in_range_and_different() -> None:
    inputs = {
        "cache": (["num_pages", "page_size", "m"], "float32"),
        "block_tables": (["batch_size", "max_pages_per_seq"], "int32"),
        "seq_lens": (["batch_size"], "int32"),
    }
    found = values(inputs, consts={"page_size": 16})
    table = found["block_tables"]
    assert table.min() >= 0 and table.max() < len(found["cache"])
    assert table.unique().numel() == table.numel()
    lengths = found["seq_lens"]
    assert (lengths <= table.shape[1] * 16).all() and (lengths > 0).all()
    assert lengths.unique().numel() == 3 and (lengths % 16 != 0).all()  # partly filled pages


def test_last_page_lengths() -> None:
    inputs = {
        "cache": (["num_pages", "page_size", "m"], "float32"),
        "kv_indptr": (["len_indptr"], "int32"),
        "kv_indices": (["num_kv_indices"], "int32"),
        "kv_last_page_len": (["batch_size"], "int32"),
    }
    found = values(inputs, consts={"page_size": 16})
    assert found["kv_indptr"][-1] == len(found["kv_indices"])  # pages, not tokens
    last = found["kv_last_page_len"]
    assert ((last >= 1) & (last <= 16)).all() and (last < 16).any()


@pytest.mark.parametrize(
    ("tokens", "owners"),
    [("total_q", [0, 0, 1, 2, 2, 2]), ("total_kv", [0, 0, 0, 1, 1, 2, 2, 2, 2])],
)
def test_owners_of_tokens(tokens: str, owners: list[int]) -> None:
    inputs = {
        "batch_indices": ([tokens], "int32"),
        "qo_indptr": (["len_indptr"], "int32"),
        "x": (["total_q", "total_kv"], "float32"),
    }
    assert values(inputs)["batch_indices"].tolist() == owners


def test_lengths_in_a_table_are_those_of_the_requests() -> None:
    inputs = {"seq_lens": (["h", "batch_size"], "int32"), "k": (["total_kv", "m"], "float32")}
    lengths = values(inputs, consts={"h": 2})["seq_lens"]
    assert lengths[0].tolist() == lengths[1].tolist() and lengths[0].sum() == 9


def test_probabilities_and_limits_of_rows() -> None:
    inputs = {
        "probs": (["batch_size", "v"], "float32"),
        "top_k": (["batch_size"], "int32"),
        "top_p": (["batch_size"], "float32"),
        "min_p": (["batch_size"], "float32"),
    }
    found = values(inputs, consts={"v": 1000})
    assert torch.allclose(found["probs"].sum(-1), torch.ones(3))
    assert (found["top_k"] >= 1).all() and found["top_k"].unique().numel() == 3
    for name in ("top_p", "min_p"):
        assert ((found[name] > 0) & (found[name] <= 1)).all()


def test_experts() -> None:
    inputs = {"topk_ids": (["num_tokens", "topk"], "int32"), "w": (["num_experts"], "float32")}
    ids = values(inputs, consts={"topk": 4, "num_experts": 8})["topk_ids"]
    assert ((ids >= 0) & (ids < 8)).all()
    assert all(row.unique().numel() == 4 for row in ids)


def test_experts_see_numbers_of_size_one() -> None:
    inputs = {
        "hidden_states": (["seq_len", "hidden_size"], "float8_e4m3fn"),
        "hidden_states_scale": (["one", "seq_len"], "float32"),
        "gemm1_weights": (["two_i", "hidden_size"], "float8_e4m3fn"),
        "gemm1_weights_scale": (["two_i", "one"], "float32"),
    }
    case = definition("", inputs, Y, consts={"hidden_size": 512, "two_i": 64}, op_type="moe")
    found = generate(case).values
    states = found["hidden_states"].float() * found["hidden_states_scale"].T
    product = states @ (found["gemm1_weights"].float() * found["gemm1_weights_scale"]).T
    assert 0.3 < product.std() < 3


def test_rows_of_a_norm_are_small_and_large() -> None:
    case = definition("", {"hidden_states": (["batch_size", "m"], "float32")}, Y)
    case["op_type"] = "rmsnorm"
    squares = generate(case).values["hidden_states"].square().mean(-1)
    assert squares.min() < 1e-5 and squares.max() > 10


def test_cos_sin_cache() -> None:
    cache = one("cos_sin_cache", ["max_seq_len", "rd"], "float32", consts={"rd": 8})
    assert torch.allclose(cache[:, :4] ** 2 + cache[:, 4:] ** 2, torch.ones(len(cache), 4))


def test_scales_in_bytes_are_near_one() -> None:
    numbers = one("w_scale", ["n"], "int8").view(torch.float8_e4m3fn).float()
    assert ((numbers >= 0.5) & (numbers <= 2)).all()
    assert one("packed", ["n", "m"], "int8").unique().numel() > 8


def test_numbers_fit_what_they_scale() -> None:
    inputs = {"q": (["n", "head_dim"], "float32"), "sm_scale": (None, "float32")}
    assert values(inputs, consts={"head_dim": 64})["sm_scale"] == 0.125
    assert one("top_k", None, "int32", consts={"top_k": 6}, extra=["top_k"]) == 6
