"""Defects of axes, outputs and binding that need a template of their own to show."""

from __future__ import annotations

import pytest
from kerneldefs.capture.record import Axis
from kerneldefs.definition.checks import Subject, errors, run_checks
from kerneldefs.definition.draft import Quarantine

from .calls import BF16, fact
from .made import Made, run_of, scalar, tensor


def test_inputs_are_passed_under_the_names_that_the_reference_takes() -> None:
    made = Made(
        "import torch\ndef ref(inner):\n    return inner\n",
        inputs={"x": tensor("n", "d", param="inner")},
    )
    made.tensors = {"inner": fact(BF16, 3, 8)}
    definition = made.repaired()
    assert "def run(x):" in definition["reference"]
    assert "ref(inner=x).to(torch.bfloat16)" in definition["reference"]
    assert errors(run_checks(Subject(definition))) == []


def test_a_tuple_argument_is_put_together_again() -> None:
    made = Made(
        "import torch\ndef ref(pair):\n    return pair[0] + pair[1]\n",
        inputs={
            "x": tensor("n", "d", param="pair", place=0),
            "y": tensor("n", "d", param="pair", place=1),
        },
    )
    made.tensors = {"pair#0": fact(BF16, 3, 8), "pair#1": fact(BF16, 3, 8)}
    assert "ref(pair=(x, y))" in run_of(made.repaired())


def test_references_that_write_into_buffers_get_copies_and_return_them() -> None:
    made = Made(
        "import torch\ndef ref(x, buffer):\n    buffer.copy_(x)\n",
        inputs={"buffer": tensor("n", "d")},
        tensors={"buffer": fact(BF16, 3, 8)},
    )
    made.outputs = {"buffer": tensor("n", "d", param="buffer")}
    made.results = ()
    definition = made.repaired()
    assert list(definition["outputs"]) == ["buffer_out"]
    assert "buffer = buffer.clone()" in run_of(definition)
    assert "return buffer.to(torch.bfloat16)" in run_of(definition)


def test_a_reference_that_returns_nothing_and_writes_nothing_is_quarantined() -> None:
    with pytest.raises(Quarantine, match="return-nothing"):
        Made("def ref(x):\n    x + 1\n").repaired()


def test_inputs_that_the_reference_writes_to_are_cloned() -> None:
    made = Made("import torch\ndef ref(x):\n    x += 1\n    return x\n")
    assert "ref(x=x.clone())" in run_of(made.repaired())


def test_positional_only_parameters_are_passed_by_position() -> None:
    made = Made("import torch\ndef ref(x, /):\n    return x\n")
    assert "ref(x).to" in run_of(made.repaired())


def test_a_dtype_that_was_passed_is_bound_as_a_dtype() -> None:
    made = Made(
        "import torch\ndef ref(x, dtype):\n    return x.to(dtype)\n",
        inputs={"dtype": scalar("int32")},
        scalars={"dtype": "torch.bfloat16"},
    )
    definition = made.repaired()
    assert list(definition["inputs"]) == ["x"]
    assert "ref(x=x, dtype=torch.bfloat16)" in run_of(definition)


def test_dicts_are_taken_apart_by_name() -> None:
    made = Made("import torch\ndef ref(x):\n    return {'other': x, 'out': x}\n")
    assert "outputs['out'].to" in run_of(made.repaired())
    with pytest.raises(Quarantine, match="return-names"):
        Made("def ref(x):\n    return {'other': x}\n").repaired()


def test_optional_outputs_that_are_not_returned_go_and_others_do_not() -> None:
    text = "import torch\ndef ref(x):\n    return x\n"
    optional = Made(text, outputs={"lse": tensor("n", optional=True)})
    assert list(optional.repaired()["outputs"]) == ["out"]
    with pytest.raises(Quarantine, match=r"return-arity: .*lse"):
        Made(text, outputs={"lse": tensor("n")}).repaired()


def test_more_values_than_outputs_are_quarantined() -> None:
    with pytest.raises(Quarantine, match=r"return-arity: .*2 values for 1"):
        Made("def ref(x):\n    return x, x\n").repaired()


def test_literal_axes_are_declared() -> None:
    made = Made(
        "import torch\ndef ref(x, pair):\n    return x\n",
        inputs={"pair": tensor("n", "2")},
        tensors={"pair": fact(BF16, 3, 2)},
    )
    definition = made.repaired()
    assert definition["axes"]["dim_2"] == {"type": "const", "value": 2}
    assert definition["inputs"]["pair"]["shape"] == ["n", "dim_2"]


@pytest.mark.parametrize(("dim", "size"), [("d_div_4", 2), ("d_mul_2", 16)])
def test_derived_axes_are_declared_with_their_size(dim: str, size: int) -> None:
    made = Made(
        "import torch\ndef ref(x, scale):\n    return x\n",
        inputs={"scale": tensor(dim)},
        tensors={"scale": fact(BF16, size)},
    )
    assert made.repaired()["axes"][dim] == {"type": "const", "value": size}
    made.tensors["scale"] = fact(BF16, size + 1)
    with pytest.raises(Quarantine, match="undeclared-axis"):
        made.repaired()


def test_axes_of_outputs_alone_need_a_size() -> None:
    text = "import torch\ndef ref(x):\n    return x\n"
    axes = {"d_div_2": Axis(False, None, None), "m": Axis(False, None, None)}
    halved = Made(text, axes=axes)
    halved.outputs, halved.results = {"out": tensor("n", "d_div_2")}, (fact(BF16, 3, 4),)
    assert halved.repaired()["axes"]["d_div_2"] == {"type": "const", "value": 4}
    free = Made(text, axes=axes)
    free.outputs, free.results = {"out": tensor("n", "m")}, (fact(BF16, 3, 4),)
    with pytest.raises(Quarantine, match="output-axis"):
        free.repaired()


def test_a_const_axis_that_nothing_tells_is_quarantined() -> None:
    made = Made("import torch\ndef ref(x):\n    return x\n", axes={"k": Axis(True, "k", None)})
    with pytest.raises(Quarantine, match=r"axis-value: .*k"):
        made.repaired()


def test_axes_that_two_tensors_disagree_on_are_quarantined() -> None:
    made = Made(
        "def ref(x, w):\n    return x\n",
        inputs={"w": tensor("d")},
        tensors={"w": fact(BF16, 9)},
    )
    with pytest.raises(Quarantine, match="axis-conflict"):
        made.repaired()


def test_defaults_are_left_alone_when_the_call_passed_them() -> None:
    made = Made("import torch\ndef ref(x, order=3):\n    return x\n", scalars={"order": None})
    assert "order" not in run_of(made.repaired())


def test_a_value_that_no_rule_names_is_quarantined() -> None:
    made = Made(
        "import torch\ndef ref(x, order=3):\n    return x\n",
        inputs={"order": scalar("string", optional=True)},
        scalars={"order": "other"},
    )
    with pytest.raises(Quarantine, match=r"unnamed-variant: .*order=3"):
        made.repaired()
    made.reference = made.reference.replace("=3", "='other'")
    assert "order" not in run_of(made.repaired())


def test_scalars_stay_inputs_and_flags_do_not() -> None:
    made = Made(
        "import torch\ndef ref(x, scale, is_causal):\n    return x * scale\n",
        inputs={"scale": scalar("float64"), "is_causal": scalar("bool")},
        scalars={"scale": 0.5, "is_causal": True},
    )
    definition = made.repaired()
    assert definition["inputs"]["scale"] == {"shape": None, "dtype": "float32"}
    assert "is_causal=True" in run_of(definition)
    assert "is_causal" not in definition["inputs"]


def test_an_int_that_does_not_fit_int32_is_int64() -> None:
    made = Made(
        "import torch\ndef ref(x, big):\n    return x\n",
        inputs={"big": scalar("uint64")},
        scalars={"big": 2**40},
    )
    assert made.repaired()["inputs"]["big"]["dtype"] == "int64"


def test_a_fraction_declared_an_int_is_a_float() -> None:
    made = Made(
        "import torch\ndef ref(x, p):\n    return x\n",
        inputs={"p": scalar("int32")},
        scalars={"p": 0.5},
    )
    assert made.repaired()["inputs"]["p"]["dtype"] == "float32"


def test_dtypes_that_the_dataset_lacks_are_quarantined() -> None:
    made = Made("import torch\ndef ref(x):\n    return x\n", tensors={"x": fact("complex64", 3, 8)})
    with pytest.raises(Quarantine, match="dtype: input x is complex64"):
        made.repaired()


def test_tensors_that_the_reference_ignores_are_quarantined() -> None:
    made = Made(
        "import torch\ndef ref(x, **kwargs):\n    return x\n",
        inputs={"w": tensor("d")},
        tensors={"w": fact(BF16, 8)},
    )
    with pytest.raises(Quarantine, match=r"input-ignored: .*w"):
        made.repaired()


def test_keywords_that_the_reference_reads_are_passed() -> None:
    made = Made(
        "import torch\ndef ref(x, **kwargs):\n    return x * kwargs.get('w')\n",
        inputs={"w": tensor("d")},
        tensors={"w": fact(BF16, 8)},
    )
    assert "ref(x=x, w=w)" in run_of(made.repaired())


def test_a_parameter_without_any_value_is_quarantined() -> None:
    with pytest.raises(Quarantine, match=r"run-value: .*mystery"):
        Made("import torch\ndef ref(x, mystery):\n    return x * mystery\n").repaired()


@pytest.mark.parametrize("text", ["import os", "from . import helpers", "from flashinfer import x"])
def test_references_that_import_more_than_torch_are_quarantined(text: str) -> None:
    with pytest.raises(Quarantine, match="reference-imports"):
        Made(f"import torch\ndef ref(x):\n    {text}\n    return x\n").repaired()


def test_a_run_that_takes_something_else_is_quarantined() -> None:
    with pytest.raises(Quarantine, match="run-parameters"):
        Made("import torch\ndef run(x, y):\n    return x\n").repaired()


def test_constraints_that_cannot_hold_are_dropped_and_others_kept() -> None:
    made = Made("import torch\ndef ref(x):\n    return x\n")
    constraints = ["n > 0", "gone == 1", "d ==", "d % 8 == 0"]
    dumped = {**made.dumped(), "constraints": constraints}
    made.dumped = lambda: dumped  # type: ignore[method-assign]
    assert made.repaired()["constraints"] == ["n > 0", "d % 8 == 0"]


def test_templates_without_a_reference_are_quarantined() -> None:
    with pytest.raises(Quarantine, match="no-reference"):
        Made("").repaired()


def test_packed_outputs_are_looked_at_as_int8() -> None:
    made = Made("import torch\ndef ref(x):\n    return x\n")
    made.results = (fact("uint8", 3, 8),)
    definition = made.repaired()
    assert definition["outputs"]["out"]["dtype"] == "int8"
    assert ".view(torch.int8)" in run_of(definition)
