"""A capture directory from end to end: candidates, quarantine, index, and the same bytes twice."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.capture.record import write_calls
from kerneldefs.definition.candidates import (
    Candidate,
    Source,
    content,
    difference,
    load_candidates,
    united,
)
from kerneldefs.definition.normalise import normalise, unite, write_candidates
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import write_json

from .conftest import Dump
from .test_words import CONFIG

Dumps = Callable[[str], Dump]
SCRIPTS = Path(__file__).parents[3] / "scripts"


def write_capture(folder: Path, dumps: Iterable[Dump], **summary: Any) -> Path:
    """Write a capture directory that holds these calls and their dumps."""
    rank = folder / "rank0"
    (rank / "flashinfer").mkdir(parents=True)
    templates, calls = {}, []
    for dump in dumps:
        calls.append(dump.call)
        if dump.call.template is not None:
            templates[dump.call.template] = dataclasses.asdict(dump.template)
        if dump.call.definition is not None:
            path = rank / "flashinfer" / f"{dump.call.definition}.json"
            path.write_text(json.dumps(dump.dumped))
    write_json(folder / "templates.json", templates)
    write_calls(rank / "calls.jsonl", calls)
    said = {"status": "captured", "reason": "", "versions": {"sglang": "0.5.21"}, **summary}
    write_json(folder / "capture.json", said)
    return folder


def changed(dump: Dump, **changes: Any) -> Dump:
    return dataclasses.replace(dump, call=dataclasses.replace(dump.call, **changes))


def test_a_capture_becomes_candidates(dumps: Dumps, tmp_path: Path) -> None:
    names = ("rmsnorm", "paged decode", "MLA decode", "MLA prefill", "allreduce fusion")
    capture = write_capture(tmp_path / "capture", map(dumps, names))
    result = normalise(CONFIG, capture)
    write_candidates(result, tmp_path / "out")
    index, found, quarantined = load_candidates(tmp_path / "out")
    assert sorted(index["definitions"]) == [
        "gqa_paged_decode_h32_kv8_d128_ps1",
        "mla_paged_decode_h8_ckv512_kpe64_ps1",
        "mla_paged_prefill_causal_h8_ckv512_kpe64_ps1",
        "rmsnorm_h7168",
    ]
    assert [candidate.path for candidate in found] == [
        entry["path"] for _, entry in sorted(index["definitions"].items())
    ]
    assert [item.cause for item in quarantined] == ["reference-denied"]
    assert index["config"] == CONFIG.id
    assert index["versions"] == {"sglang": "0.5.21"}
    tags = {candidate.name: candidate.definition["tags"] for candidate in found}
    assert "tp:2" in tags["mla_paged_decode_h8_ckv512_kpe64_ps1"]
    assert not [tag for tag in tags["rmsnorm_h7168"] if tag.startswith("tp:")]


def test_inputs_keep_the_order_of_the_kernels_interface(dumps: Dumps, tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "capture", [dumps("paged decode")])
    write_candidates(normalise(CONFIG, capture), tmp_path / "out")
    (path,) = (tmp_path / "out/definitions").rglob("*.json")
    definition = json.loads(path.read_text())
    assert list(definition["inputs"]) == [
        *("q", "k_cache", "v_cache", "kv_indptr", "kv_indices", "sm_scale")
    ]
    assert list(definition)[:3] == ["name", "description", "op_type"]


def test_calls_of_one_kernel_unite(dumps: Dumps, tmp_path: Path) -> None:
    dump = dumps("rmsnorm")
    every = [
        changed(dump, count=3),
        changed(dump, count=4, phase="prefill"),
        changed(dump, count=5, tensors={**dump.call.tensors, "out": dump.call.tensors["input"]}),
    ]
    result = normalise(CONFIG, write_capture(tmp_path / "capture", every))
    (candidate,) = result.candidates
    assert [(source.phase, source.count) for source in candidate.sources] == [
        ("decode", 8),
        ("prefill", 4),
    ]


def test_two_dtypes_of_one_name_are_told_apart(dumps: Dumps, tmp_path: Path) -> None:
    dump = dumps("rmsnorm")
    tensors = {
        name: dataclasses.replace(fact, dtype="float16") for name, fact in dump.call.tensors.items()
    }
    half = changed(dump, tensors=tensors, outputs=())
    found = normalise(CONFIG, write_capture(tmp_path / "one", [dump, half]))
    again = normalise(CONFIG, write_capture(tmp_path / "two", [half, dump]))
    names = [candidate.name for candidate in found.candidates]
    assert names == ["rmsnorm_h7168", "rmsnorm_h7168_fp16"]
    assert [content(c.definition) for c in found.candidates] == [
        content(c.definition) for c in again.candidates
    ]
    assert found.quarantined == again.quarantined == ()


def test_every_dump_and_every_call_is_accounted_for(dumps: Dumps, tmp_path: Path) -> None:
    dump = dumps("rmsnorm")
    plain = changed(dump, op="sglang.act_and_mul", definition=None, template=None)
    untraced = changed(dump, op="flashinfer.new.thing", definition=None, template=None)
    plan = changed(dump, op="flashinfer.decode.W.plan", definition=None, template=None)
    capture = write_capture(tmp_path / "capture", [plain, untraced, plan])
    dumped = capture / "rank0/flashinfer"
    (dumped / "orphan.json").write_text("{}")
    calls = [
        plain.call,
        untraced.call,
        plan.call,
        dataclasses.replace(dump.call, definition="missing"),
        dataclasses.replace(dump.call, definition=None),
        dataclasses.replace(dump.call, definition="../outside"),
        dataclasses.replace(dump.call, definition="broken"),
        dataclasses.replace(dump.call, definition="foreign"),
        dataclasses.replace(dump.call, definition="formless"),
        dataclasses.replace(dump.call, template="unknown"),
    ]
    write_json(
        capture / "templates.json", {str(dump.call.template): dataclasses.asdict(dump.template)}
    )
    (capture / "outside.json").write_text("{}")
    (dumped / "broken.json").write_text("{")
    (dumped / "formless.json").write_text("[]")
    other = {**dump.dumped, "tags": ["fi_api:flashinfer.other"]}
    (dumped / "foreign.json").write_text(json.dumps(other))
    write_calls(capture / "rank0/calls.jsonl", calls)
    result = normalise(CONFIG, capture)
    assert result.candidates == ()
    assert sorted(item.cause for item in result.quarantined) == [
        "dump-form",
        "dump-form",
        "dump-missing",
        "dump-missing",
        "dump-of-another-api",
        "no-call",
        "no-dump",
        "no-template",
    ]
    assert {row["op"]: row["why"] for row in result.index["not_definitions"]} == {
        "sglang.act_and_mul": "seen beside FlashInfer; definitions of it are derived, "
        "with method auto or derive",
        "flashinfer.new.thing": "FlashInfer has no trace template for it",
        "flashinfer.decode.W.plan": "plans a run() and computes nothing itself",
    }


def test_a_definition_that_fails_a_check_is_quarantined(dumps: Dumps, tmp_path: Path) -> None:
    dump = dumps("rmsnorm")
    strange = dataclasses.replace(dump, dumped={**dump.dumped, "op_type": "../../etc"})
    result = normalise(CONFIG, write_capture(tmp_path / "capture", [strange]))
    assert result.candidates == ()
    assert [item.cause for item in result.quarantined] == ["check-schema"]


def test_a_refused_capture_gives_empty_candidates_that_say_why(tmp_path: Path) -> None:
    write_json(tmp_path / "capture/capture.json", {"status": "refused", "reason": "no such class"})
    result = normalise(CONFIG, tmp_path / "capture")
    assert result.index["capture"] == {"status": "refused", "reason": "no such class"}
    assert result.candidates == ()


@pytest.mark.parametrize("summary", [{"status": "half"}, {}])
def test_a_capture_of_unknown_status_is_an_error(tmp_path: Path, summary: dict[str, str]) -> None:
    write_json(tmp_path / "capture/capture.json", summary)
    with pytest.raises(KerneldefsError, match="run the capture again"):
        normalise(CONFIG, tmp_path / "capture")


def test_a_capture_without_calls_is_an_error(dumps: Dumps, tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "capture", [dumps("rmsnorm")])
    (capture / "rank0/calls.jsonl").unlink()
    with pytest.raises(KerneldefsError, match=r"no rank\*/calls\.jsonl"):
        normalise(CONFIG, capture)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_command_writes_the_same_bytes_twice(dumps: Dumps, tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "capture", map(dumps, ("rmsnorm", "top-k top-p")))
    write_json(tmp_path / "config.json", CONFIG.to_json())
    trees = []
    for out in (tmp_path / "one", tmp_path / "two", tmp_path / "two"):
        command = [sys.executable, str(SCRIPTS / "normalise.py"), str(tmp_path / "config.json")]
        done = subprocess.run(
            [*command, str(capture), "--out", str(out)], check=True, capture_output=True, text=True
        )
        assert "2 definitions, 0 quarantined" in done.stdout
        trees.append(tree(out))
    assert trees[0] == trees[1] == trees[2]


def test_the_command_names_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "normalise.py"), str(tmp_path / "none.json")]
    done = subprocess.run(
        [*command, str(tmp_path), "--out", str(tmp_path / "out")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and "none.json" in done.stderr


def test_a_definition_that_is_not_the_indexs_is_an_error(dumps: Dumps, tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "capture", [dumps("rmsnorm")])
    write_candidates(normalise(CONFIG, capture), tmp_path / "out")
    (path,) = (tmp_path / "out/definitions").rglob("*.json")
    path.write_text(path.read_text().replace("rmsnorm_h7168", "rmsnorm_h1"))
    with pytest.raises(KerneldefsError, match="normalise this config again"):
        load_candidates(tmp_path / "out")


def test_differences_are_paths_with_both_values() -> None:
    one = {"a": {"b": 1, "c": [1]}, "d": 2}
    assert difference(one, {"a": {"b": 2, "c": [1]}}) == ["a/b: 1 and 2", "d (only in one)"]
    assert difference({"a": 1, "b": 2}, {"b": 2, "a": 1}) == ["definition (order)"]
    assert difference({"t": "x" * 99}, {"t": "y"}) == ["t"]
    assert difference(one, one) == []


def test_sources_that_differ_in_count_only_are_one() -> None:
    source = Source("op", "decode", "layer", "observed", 2)
    other = dataclasses.replace(source, phase="prefill")
    assert united([other, source, source]) == (dataclasses.replace(source, count=4), other)


def test_uniting_keeps_all_repairs_and_tags() -> None:
    source = Source("op", "decode", "", "observed", 1)
    base = {"name": "n", "op_type": "o", "axes": {}, "inputs": {}, "outputs": {}, "reference": ""}
    one = Candidate({**base, "tags": ["b"]}, ("run",), (source,))
    other = Candidate({**base, "tags": ["a"]}, ("tags", "run"), (source,))
    (kept,), lost = unite([one, other])
    assert (kept.definition["tags"], kept.repairs, lost) == (["a", "b"], ("run", "tags"), [])
