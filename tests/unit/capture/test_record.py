"""The records that a capture leaves for the later stages."""

import dataclasses

import pytest
from kerneldefs.capture.record import (
    Axis,
    KernelCall,
    Slot,
    Template,
    TensorFact,
    read_calls,
    read_templates,
    write_calls,
    write_templates,
)
from kerneldefs.errors import KerneldefsError

CALL = KernelCall(
    op="flashinfer.norm.rmsnorm",
    tensors={"input": TensorFact((4, 8), "bfloat16", (8, 1))},
    scalars={"eps": 1e-5, "enable_pdl": None},
    outputs=(TensorFact((4, 8), "bfloat16", (8, 1)),),
    plan=None,
    state={},
    phase="decode",
    layer="model.layers.N.input_layernorm",
    definition="rmsnorm_h8",
    template="flashinfer.norm.rmsnorm:rmsnorm",
    marks=("a doubt",),
    count=3,
)
TEMPLATE = Template(
    api="flashinfer.norm.rmsnorm",
    op_type="rmsnorm",
    name_prefix=None,
    module="flashinfer.trace.templates.norm",
    axes={"num_tokens": Axis(False, None, None), "hidden_size": Axis(True, "h", None)},
    inputs={
        "input": Slot(("num_tokens", "hidden_size"), None, None, None, False),
        "eps": Slot(None, "float32", None, None, False),
    },
    outputs={"output": Slot(("num_tokens", "hidden_size"), None, "out", None, False, "input")},
    optional_params=("out",),
    has_reference=True,
)


def test_calls_come_back_as_they_were_written_in_a_stable_order(tmp_path):
    other = dataclasses.replace(CALL, phase="prefill")
    write_calls(tmp_path / "a", [CALL, other])
    write_calls(tmp_path / "b", [other, CALL])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(read_calls(tmp_path / "a"), key=repr) == sorted([CALL, other], key=repr)


def test_templates_come_back_as_they_were_written(tmp_path):
    write_templates(tmp_path / "t.json", {"key": TEMPLATE})
    found = read_templates(tmp_path / "t.json")
    assert found == {"key": TEMPLATE}
    assert list(found["key"].axes) == list(TEMPLATE.axes)  # in order: names are built in it


@pytest.mark.parametrize("line", ["{", "[]", '{"op": "x"}'])
def test_a_broken_line_is_an_error_that_names_it(tmp_path, line):
    path = tmp_path / "calls.jsonl"
    write_calls(path, [CALL])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(KerneldefsError, match=r"calls\.jsonl:2: not a call record"):
        read_calls(path)


def test_missing_calls_are_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(KerneldefsError, match="run the capture again"):
        read_calls(tmp_path / "calls.jsonl")
