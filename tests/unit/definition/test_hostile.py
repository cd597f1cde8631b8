"""A capture from elsewhere: a sentence, or something put aside; never a file outside of a tree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kerneldefs.capture.record import read_calls, read_templates
from kerneldefs.definition.normalise import normalise, write_candidates
from kerneldefs.errors import KerneldefsError

from .conftest import Dump
from .test_normalise import changed, write_capture
from .test_words import CONFIG

Dumps = Callable[[str], Dump]
JSON = st.recursive(
    st.none() | st.booleans() | st.sampled_from([10**400, -1, "../x", "/etc/passwd", "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "a/b", ".", "..", "a\x00b"])
def test_name_that_is_a_path_is_put_aside(dumps: Dumps, tmp_path: Path, name: str) -> None:
    dump = dumps("rmsnorm")
    capture = write_capture(tmp_path / "capture", [dump])
    (path,) = (capture / "rank0/flashinfer").iterdir()
    path.write_text(json.dumps({**dump.dumped, "name": name}))
    write_candidates(normalise(CONFIG, capture), tmp_path / "inner/candidates")
    calls = capture / "rank0/calls.jsonl"
    record = json.loads(calls.read_text())
    calls.write_text(json.dumps({**record, "definition": name}) + "\n")
    result = normalise(CONFIG, capture)
    write_candidates(result, tmp_path / "inner/candidates")
    assert result.candidates == ()
    assert {path.name for path in tmp_path.iterdir()} == {"capture", "inner"}
    assert not list(tmp_path.rglob("*escaped*"))


def test_link_in_a_dump_is_not_followed_out_of_it(dumps: Dumps, tmp_path: Path) -> None:
    dump = dumps("rmsnorm")
    capture = write_capture(tmp_path / "capture", [dump])
    (path,) = (capture / "rank0/flashinfer").iterdir()
    path.rename(tmp_path / "outside.json")
    path.symlink_to(tmp_path / "outside.json")
    result = normalise(CONFIG, capture)
    assert result.candidates == ()
    assert result.quarantined[0].cause == "dump-missing"


@given(
    key=st.sampled_from(
        [
            "op",
            "tensors",
            "scalars",
            "outputs",
            "plan",
            "state",
            "definition",
            "template",
            "marks",
            "phase",
            "layer",
        ]
    ),
    value=JSON,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_value_in_a_call_breaks_the_reading(
    tmp_path: Path, dumps: Dumps, key: str, value: Any
) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(json.dumps({**dumps("rmsnorm").call.to_json(), key: value}) + "\n")
    try:
        read_calls(path)
    except KerneldefsError as error:
        assert "calls.jsonl:1: not a call record" in str(error)


@pytest.mark.parametrize("content", [b"\xff\n", b"[" * 100_000, b"3\n", b"{}\n", b"null\n"])
def test_what_is_no_list_of_calls_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "calls.jsonl").write_bytes(content)
    with pytest.raises(KerneldefsError, match=r"calls\.jsonl.* run the capture again"):
        read_calls(tmp_path / "calls.jsonl")


@pytest.mark.parametrize("content", ["[]", "3", '{"a": 3}', '{"a": {}}', "[" * 100_000])
def test_what_is_no_templates_is_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "templates.json").write_text(content)
    with pytest.raises(KerneldefsError, match=r"templates\.json"):
        read_templates(tmp_path / "templates.json")


@pytest.mark.parametrize("content", ["[]", "3", "{}", '{"status": []}'])
def test_summary_of_another_form_is_a_sentence(dumps: Dumps, tmp_path: Path, content: str) -> None:
    capture = write_capture(tmp_path / "capture", [changed(dumps("rmsnorm"))])
    (capture / "capture.json").write_text(content)
    with pytest.raises(KerneldefsError, match=r"capture\.json: status is"):
        normalise(CONFIG, capture)
