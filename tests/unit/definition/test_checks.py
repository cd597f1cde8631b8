"""Every check, broken once."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kerneldefs.definition import bench, checks
from kerneldefs.definition.checks import CHECKS, ERROR, Check, Subject, errors, run_checks

CLEAN: dict[str, Any] = {
    "name": "rmsnorm_h64",
    "description": "A norm.",
    "op_type": "rmsnorm",
    "tags": ["fi_api:flashinfer.norm.rmsnorm", "model:m", "status:unverified"],
    "axes": {
        "batch_size": {"type": "var"},
        "hidden_size": {"type": "const", "value": 64, "description": "Width."},
    },
    "constraints": ["batch_size > 0"],
    "inputs": {
        "x": {"shape": ["batch_size", "hidden_size"], "dtype": "bfloat16"},
        "eps": {"shape": None, "dtype": "float32"},
    },
    "outputs": {"y": {"shape": ["batch_size", "hidden_size"], "dtype": "bfloat16"}},
    "reference": "import torch\n\n\ndef run(x, eps):\n    return x + eps\n",
}
HEADS = {size: {"type": "const", "value": size} for size in (8, 32, 128)}
Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> dict[str, Any]:
    definition = copy.deepcopy(CLEAN)
    change(definition)
    return definition


def put(*path: str, value: Any) -> Change:
    def change(definition: dict[str, Any]) -> None:
        for key in path[:-1]:
            definition = definition[key]
        definition[path[-1]] = value

    return change


def reference(text: str) -> Change:
    return put("reference", value=text)


BROKEN: list[tuple[str, Change]] = [
    ("schema", put("init", value="x")),
    ("schema", put("axes", "batch_size", "value", value=3)),
    ("schema", put("name", value="../rmsnorm_h64")),
    ("schema", put("inputs", "x", "optional", value=True)),
    ("schema", put("tags", value=["model:m", "model:m"])),
    ("bench", reference("def other(x, eps):\n    return x\n")),
    ("bench", put("axes", "hidden_size", "value", value=-1)),
    ("axes-declared", put("inputs", "x", "shape", value=["rows", "hidden_size"])),
    ("axes-used", put("axes", "unused", value={"type": "var"})),
    ("const-positive", put("axes", "hidden_size", "value", value=0)),
    ("dtypes", put("inputs", "x", "dtype", value="uint8")),
    ("sides", put("outputs", value={})),
    ("sides", put("outputs", "x", value={"shape": None, "dtype": "bool"})),
    ("output-axes", lambda d: d["inputs"]["x"].update(shape=["hidden_size", "hidden_size"])),
    ("head-groups", lambda d: d["axes"].update(num_qo_heads=HEADS[32], num_kv_heads=HEADS[128])),
    ("constraints", put("constraints", value=["batch_size >"])),
    ("constraints", put("constraints", value=["unknown == 1"])),
    ("constraints-hold", put("constraints", value=["hidden_size == 65"])),
    ("constraints-hold", put("constraints", value=["batch_size == 2 * hidden_size + 1.5"])),
    ("constraints-hold", put("constraints", value=["().__class__ == 1"])),
    ("run", reference("def run(eps, x):\n    return x\n")),
    ("run", reference("def run(x, eps, more=1):\n    return x\n")),
    ("run", reference("def run(x, eps, **more):\n    return x\n")),
    ("run", reference("if True:\n    def run(x, eps):\n        return x\n")),
    ("run", reference("def run(x, eps):\n    return x\n\n\nrun = None\n")),
    ("run", reference(f"def run(x, eps):\n    return {'-' * 100_000}x\n")),
    ("return-arity", reference("def run(x, eps):\n    return x, x\n")),
    ("return-arity", reference("def run(x, eps):\n    return {'z': x}\n")),
    ("return-arity", reference("def run(x, eps):\n    x + eps\n")),
    ("names-bound", reference("def run(x, eps):\n    return torch.add(x, eps)\n")),
    ("screen", reference("import os\n\n\ndef run(x, eps):\n    return os.environ and x\n")),
    ("name", put("name", value="rmsnorm_h65")),
    ("name", put("name", value="another_norm_h65")),
    ("tags", put("tags", value=["model:m", "whatever:1"])),
    ("tags", put("tags", value=["status:unverified", "status:verified"])),
    ("description", put("description", value="")),
]


def test_a_clean_definition_has_no_findings() -> None:
    assert run_checks(Subject(CLEAN, "rmsnorm/rmsnorm_h64.json")) == []


@pytest.mark.parametrize(("check", "change"), BROKEN)
def test_each_check_finds_what_it_is_for(check: str, change: Change) -> None:
    assert check in {finding.check for finding in run_checks(Subject(changed(change)))}


def test_heads_in_even_groups_are_no_finding() -> None:
    grouped = changed(lambda d: d["axes"].update(num_qo_heads=HEADS[32], num_kv_heads=HEADS[8]))
    assert run_checks(Subject(grouped)) == []


def test_a_check_that_breaks_is_an_error_and_hides_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: Subject) -> list[str]:
        raise OverflowError("too large")

    monkeypatch.setattr(checks, "CHECKS", (Check("odd", "It is odd.", broken), *CHECKS))
    (finding,) = run_checks(Subject(CLEAN))
    assert (finding.check, finding.severity) == ("odd", ERROR)
    assert finding.message == "the check ended with OverflowError: too large"
    worse = run_checks(Subject(changed(put("name", value="rmsnorm_h65"))))
    assert [finding.check for finding in worse] == ["name"]


def test_every_check_has_a_test_that_breaks_it() -> None:
    assert {check.id for check in CHECKS} == {check for check, _ in BROKEN} | {"path"}


@pytest.mark.parametrize(
    "path", ["norm/rmsnorm_h64.json", "rmsnorm/other.json", "rmsnorm_h64.json"]
)
def test_the_path_is_op_type_and_name(path: str) -> None:
    assert [f.check for f in run_checks(Subject(CLEAN, path))] == ["path"]


def test_an_expected_name_must_be_the_name() -> None:
    findings = run_checks(Subject(CLEAN, expected_name="rmsnorm_h64_eps1e-5"))
    assert [finding.check for finding in findings] == ["name"]


def test_a_missing_description_is_only_a_warning() -> None:
    findings = run_checks(Subject(changed(lambda d: d.pop("description"))))
    assert [finding.check for finding in findings] == ["description"]
    assert errors(findings) == []


@pytest.mark.parametrize("value", [None, [], "text", 3, {}, {"name": 1}, {"axes": []}])
def test_what_is_no_definition_at_all_is_an_error_and_no_exception(value: object) -> None:
    assert errors(run_checks(Subject(value, "a/b.json")))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(CLEAN)), JSON)
def test_no_value_under_any_key_breaks_a_check(key: str, value: object) -> None:
    run_checks(Subject({**CLEAN, key: value}, "rmsnorm/rmsnorm_h64.json"))


def corrupted(seed: int) -> dict[str, Any] | None:
    """Return the clean definition with one random corruption of its meaning, None for none."""
    choose = random.Random(seed)
    definition = copy.deepcopy(CLEAN)
    inputs = definition["inputs"]
    kind = choose.choice(["reorder", "rename", "drop", "axis", "dtype", "arity", "constraint"])
    if kind == "reorder":
        definition["inputs"] = dict(reversed(inputs.items()))
    elif kind == "rename":
        name = choose.choice(list(inputs))
        definition["inputs"] = {f"{k}_" if k == name else k: v for k, v in inputs.items()}
    elif kind == "drop":
        del inputs[choose.choice(list(inputs))]
    elif kind == "axis":
        inputs["x"]["shape"][choose.randrange(2)] = f"axis{seed}"
    elif kind == "dtype":
        inputs["x"]["dtype"] = choose.choice(["unknown", "uint8", "string", "float64"])
    elif kind == "arity":
        definition["reference"] += "\n\ndef run(x):\n    return x\n"
    else:
        definition["constraints"] = [f"c{seed} > 1"]
    return definition


@pytest.mark.parametrize("seed", range(40))
def test_random_corruptions_are_all_caught(seed: int) -> None:
    assert errors(run_checks(Subject(corrupted(seed))))


def test_the_bench_model_is_loaded_without_torch() -> None:
    import subprocess
    import sys
    from pathlib import Path

    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "from kerneldefs.definition import bench; "
        "assert bench.problems({}); "
        "assert not {'torch', 'flashinfer_bench'} & sys.modules.keys()"
    )
    scripts = Path(bench.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(scripts)], check=True)
