"""Arguments that a template does not model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kerneldefs.definition.draft import Quarantine

from .calls import BF16, fact
from .conftest import Dump

Dumps = Callable[[str], Dump]


@pytest.mark.parametrize(
    ("name", "scalars"),
    [
        ("trtllm MLA decode", {"window_left": 127}),
        ("trtllm decode", {"skip_softmax_threshold_scale_factor": 1.0}),
        ("trtllm decode", {"a_new_argument": 3}),
        ("paged decode", {"k_scale": 0.5}),
        ("ragged prefill", {"o_scale": 2.0}),
        ("moe DeepSeek routing", {"activation_type": 4}),
        ("moe DeepSeek routing", {"fp8_quantization_type": 3}),
        ("moe DeepSeek routing", {"num_fused_shared_experts": 1}),
        ("top-k top-p", {"return_valid": True}),
    ],
)
def test_an_argument_that_changes_the_result_is_refused(
    dumps: Dumps, name: str, scalars: dict[str, object]
) -> None:
    (argument,) = scalars
    with pytest.raises(Quarantine, match=f"argument-not-modelled: .*{argument}="):
        dumps(name).with_scalars(**scalars)


@pytest.mark.parametrize(
    ("name", "scalars"),
    [
        ("trtllm decode", {"enable_pdl": True, "backend": "trtllm-gen", "a_new_argument": None}),
        ("paged decode", {"k_scale": 1.0, "v_scale": 1}),
        ("top-k top-p", {"seed": 7, "offset": 0, "deterministic": False}),
    ],
)
def test_an_argument_that_changes_nothing_is_no_reason(
    dumps: Dumps, name: str, scalars: dict[str, object]
) -> None:
    assert dumps(name).with_scalars(**scalars).definition == dumps(name).repaired().definition


def test_a_flag_is_not_the_number_of_the_same_value(dumps: Dumps) -> None:
    with pytest.raises(Quarantine, match="k_scale=True"):
        dumps("paged decode").with_scalars(k_scale=True)


def test_tensors_count_as_arguments(dumps: Dumps) -> None:
    dump = dumps("trtllm MLA decode")
    with pytest.raises(Quarantine, match="sinks=a tensor"):
        dump.repaired(tensors={**dump.call.tensors, "sinks": fact(BF16, 32)})


def test_a_mask_given_to_plan_counts_too(dumps: Dumps) -> None:
    dump = dumps("paged prefill on a prefix")
    for plan in (
        {"custom_mask": {"shape": [9], "dtype": "bool", "stride": [1]}},
        {"pos_encoding_mode": "ALIBI"},
    ):
        with pytest.raises(Quarantine, match=r"plan\(\) argument"):
            dump.repaired(plan={**(dump.call.plan or {}), **plan})


def test_a_routing_method_is_understood_where_it_chose_the_template(dumps: Dumps) -> None:
    dump = dumps("moe renormalize routing")
    assert dump.repaired().definition["name"].startswith("moe_fp8_block_scale_renormalize")
