"""A config.json from anywhere: whatever it holds, a plan or a sentence comes of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kerneldefs.errors import KerneldefsError
from kerneldefs.serving.expand import ModelPlan, plan_models
from kerneldefs.serving.modelconfig import materialise
from kerneldefs.serving.settings import ROOT, Settings

PUBLISHED = json.loads((ROOT / "config/models/deepseek-v3/config.json").read_text())
HUGE = 10**400
HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([HUGE, -HUGE, 0, -1, 1e308, float("inf"), float("nan"), 2**63]),
    st.sampled_from(["", "../../etc/passwd", "/etc/passwd", "a\x00b", "\ud800", "x" * 10_000]),
    st.recursive(
        st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        ),
    ),
)


def plans(text: str | bytes) -> list[ModelPlan]:
    """Plan a model whose config.json holds this text."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        folder.mkdir()
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        (folder / "config.json").write_bytes(data)
        settings = Settings.from_mapping({"model": str(folder), "tp_list": [1, 8]})
        return plan_models(settings, may_fetch=False)


@given(st.dictionaries(st.sampled_from(sorted(PUBLISHED)), HOSTILE, min_size=1, max_size=3))
@example({"n_routed_experts": HUGE})
@example({"quantization_config": {"quant_method": "../../x"}})
@example({"torch_dtype": "../../../tmp/x"})
def test_any_values_end_in_safe_configs_or_in_a_sentence(values: dict[str, Any]) -> None:
    try:
        found = plans(json.dumps(PUBLISHED | values))
    except KerneldefsError as error:
        assert "\n" not in str(error)
        return
    for plan in found:
        for config in plan.configs:
            assert config.id == Path(config.id).name
            assert not config.id.startswith(".")
            assert len(config.id.encode()) < 200


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "3", "null", "{", '"model"'),
        '{"a":' * 100_000,
        "[" * 100_000 + "]" * 100_000,
        f'{{"hidden_size": {"9" * 5000}}}',
        b"\xff\xfe\x00",
        b"\x80abc",
    ],
    ids=str,
)
def test_what_is_no_config_is_a_sentence(text: str | bytes) -> None:
    with pytest.raises(KerneldefsError, match=r"config\.json"):
        plans(text)


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as stream:
        stream.truncate(10**10)  # sparse: it takes no room
    with pytest.raises(KerneldefsError, match="larger than"):
        plan_models(Settings.from_mapping({"model": str(tmp_path)}), may_fetch=False)


def test_code_of_a_repository_is_neither_named_nor_copied_unasked(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target):
        folder.mkdir()
    inner = {"auto_map": {"AutoModel": "../../evil.Model"}}
    config = {**PUBLISHED, "auto_map": {"AutoConfig": "evil.Config"}, "text_config": inner}
    (source / "config.json").write_text(json.dumps(config))
    (source / "evil.py").write_text("raise SystemExit('ran')")
    materialise(source, target, trust_remote_code=False)
    assert [path.name for path in target.iterdir()] == ["config.json"]
    assert "auto_map" not in (target / "config.json").read_text()
