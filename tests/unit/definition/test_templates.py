"""What templates outside the captured models need: flags, buffers, helpers of helpers, denials."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from kerneldefs.capture.record import Template
from kerneldefs.definition.arguments import NEUTRAL, TEMPLATE_NEUTRAL, neutral
from kerneldefs.definition.draft import Quarantine
from kerneldefs.definition.evidence import Evidence, gather
from kerneldefs.definition.repairs import text
from kerneldefs.definition.replaced import DENIED, REPLACED, denied
from kerneldefs.definition.source import parse
from kerneldefs.definition.variants import FLAGS, filter_order, flags, named, state_layout

from .calls import FP8, case, fact
from .made import Made, run_of, scalar, tensor


def evidence(prefix: str, **scalars: Any) -> Evidence:
    call = case("made:x", "flashinfer.made.up", {}, scalars).call
    template = Template(call.op, "made", prefix, "", {}, {}, {}, (), True)
    return gather(call, template)


@pytest.mark.parametrize("prefix", sorted(FLAGS))
def test_a_flag_is_named_unless_it_is_the_usual_one(prefix: str) -> None:
    ((name, flag),) = FLAGS[prefix].items()
    assert flags(evidence(prefix, **{name: flag.usual})) == []
    (found,) = flags(evidence(prefix, **{name: not flag.usual}))
    assert (found.suffix, found.sentence) == (flag.suffix, flag.sentence)
    assert named(evidence(prefix)) == {name}
    with pytest.raises(Quarantine, match=f"no-evidence: .*{name}"):
        flags(evidence(prefix))


def test_a_filter_order_without_a_reference_is_refused() -> None:
    prefix = "top_k_top_p_sampling_from_logits"
    assert filter_order(evidence(prefix, filter_apply_order="top_k_first")) == []
    with pytest.raises(Quarantine, match=r"variant: .*joint"):
        filter_order(evidence(prefix, filter_apply_order="joint"))


def test_a_template_may_know_an_argument_that_others_do_not() -> None:
    assert neutral("single_decode", "kv_layout") == ("NHD",)
    assert neutral("rmsnorm", "kv_layout") == NEUTRAL["kv_layout"]
    assert neutral("rmsnorm", "use_qk_l2norm") == ()
    assert all(values for row in TEMPLATE_NEUTRAL.values() for values in row.values())


def test_denied_is_denied_and_has_no_reference_of_ours() -> None:
    assert denied("allreduce_fusion")
    assert denied("rmsnorm") is None
    assert not DENIED.keys() & REPLACED.keys()


def test_a_transposed_state_is_another_function() -> None:
    assert state_layout(evidence("gdn_decode")) == []
    call = case("made:x", "flashinfer.gdn_decode.gated_delta_rule_decode", {}, {}).call
    template = Template(call.op, "made", "gdn_decode", "", {}, {}, {}, (), True)
    (found,) = state_layout(gather(call, template))
    assert (found.suffix, found.reference) == ("kv", "gdn_decode_kv")


def test_an_output_buffer_that_was_left_out_is_made_from_the_inputs() -> None:
    made = Made(
        "import torch\ndef ref(x, out):\n    out.copy_(x)\n",
        outputs={"out": tensor("n", "d", param="out")},
    )
    run = run_of(made.repaired())
    assert "out = torch.empty((x.shape[0], 8), dtype=torch.bfloat16)" in run
    assert "return out.to(torch.bfloat16)" in run


def test_an_output_buffer_that_the_reference_fills_and_returns_is_made_too() -> None:
    made = Made(
        "import torch\ndef ref(x, out):\n    out[0] = x[0]\n    return out\n",
        outputs={"out": tensor("n", "d", param="out")},
    )
    assert "out=torch.empty((x.shape[0], 8), dtype=torch.bfloat16)" in run_of(made.repaired())


def test_a_declared_lse_is_asked_for() -> None:
    made = Made(
        "import torch\ndef ref(x, return_lse):\n    return (x, x[:, 0] if return_lse else None)\n",
        outputs={"lse": tensor("n", dtype="float32")},
    )
    made.results = (*made.results, fact("float32", 3))
    assert "return_lse=True" in run_of(made.repaired())


def test_a_dtype_inferred_from_quantized_inputs_is_no_evidence() -> None:
    made = Made("import torch\ndef ref(x):\n    return x\n", tensors={"x": fact(FP8, 3, 8)})
    made.results = ()
    dumped = made.dumped()
    dumped["outputs"]["out"]["dtype"] = FP8
    made.dumped = lambda: dumped  # type: ignore[method-assign]
    with pytest.raises(Quarantine, match=r"no-evidence: .*out"):
        made.repaired()
    made.outputs = {"out": dataclasses.replace(made.outputs["out"], dtype=FP8)}
    assert made.repaired()["outputs"]["out"]["dtype"] == FP8


def test_flags_that_a_template_names_are_passed() -> None:
    made = Made(
        "import torch\ndef ref(x, **kw):\n    return x if kw.get('is_neox') else -x\n",
        inputs={"is_neox": scalar("int32", optional=True)},
        scalars={"is_neox": False},
    )
    with pytest.raises(Quarantine, match="unnamed-variant"):
        made.repaired()


def test_a_branch_that_imports_more_raises_instead() -> None:
    made = Made(
        "import torch\ndef ref(x, y=None):\n    if y is not None:\n"
        "        from ...inner import check\n\n        check(y)\n    return x\n"
    )
    source = made.repaired()["reference"]
    assert "check" not in source
    assert 'raise NotImplementedError("this needs more than torch")' in source
    assert text._without_foreign_branches(source) == source


def test_only_the_members_of_an_enum_are_taken() -> None:
    helper = "class Kind(IntEnum):\n    A = 0\n\n    def of(self):\n        return LATER\n"
    assert text._members(helper, "Kind.A") == "class Kind(IntEnum):\n    A = 0"
    assert text._members(helper, "Kind.A.of()") == helper


def test_constants_of_names_come_after_what_they_name() -> None:
    source = "import torch\nclass Kind:\n    A = 0\ndef ref(x):\n    return x, ALL, ONE\n"
    renewed = text._after_imports(source, ["ALL = (Kind.A,)", "ONE = 1"])
    names = [getattr(n, "name", None) or ast_name(n) for n in parse(renewed).body[1:]]
    assert names == ["ONE", "Kind", "ALL", "ref"]


def ast_name(node: Any) -> str:
    return str(node.targets[0].id)


def test_tags_that_are_no_word_of_the_dataset_go() -> None:
    made = Made("import torch\ndef ref(x):\n    return x\n")
    dumped = {**made.dumped(), "tags": ["fi_api:flashinfer.made.up", "mamba", "stage:decode"]}
    made.dumped = lambda: dumped  # type: ignore[method-assign]
    assert made.repaired()["tags"] == ["fi_api:flashinfer.made.up", "stage:decode"]
