"""validate.py alone on any folder, and the report of a run that survives its failure."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kerneldefs.dataset.findings import check_tree
from kerneldefs.dataset.report import Inputs, build
from kerneldefs.dataset.stage import load_model, select, write_tree
from kerneldefs.dataset.table import as_text
from kerneldefs.definition.candidates import Quarantined
from kerneldefs.errors import KerneldefsError
from kerneldefs.files import write_json

from .make import SOURCE, candidates, norm, sampling, write_definition

SCRIPTS = Path(__file__).parents[3] / "scripts"
LOST = Quarantined("allreduce_h7", "reference-denied", "it is another operator", (SOURCE,))


def validate(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(SCRIPTS / "validate.py"), *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True)


def test_a_clean_folder_passes_alone(tmp_path: Path) -> None:
    write_definition(tmp_path, norm())
    done = validate(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("passed: 1 definitions, 0 errors")


def test_any_error_fails_and_is_named(tmp_path: Path) -> None:
    write_definition(tmp_path, norm())
    write_definition(tmp_path, {**norm(32), "extra": 1})
    done = validate(tmp_path)
    assert done.returncode == 1
    assert "rmsnorm/rmsnorm_h32.json: [schema]" in done.stdout


def test_only_some_can_be_checked(tmp_path: Path) -> None:
    write_definition(tmp_path, {**norm(), "extra": 1})
    write_definition(tmp_path, sampling())
    for words in (("--op-types", "sampling"), ("--definitions", "top_k_top_p_sampling_v100")):
        done = validate(tmp_path, *words)
        assert (done.returncode, done.stdout[:21]) == (0, "passed: 1 definitions")
    assert validate(tmp_path, "--definitions", "rmsnorm_h64").returncode == 1


def test_nothing_to_check_is_an_error(tmp_path: Path) -> None:
    assert "[empty] there is nothing to check" in validate(tmp_path).stdout
    write_definition(tmp_path, norm())
    done = validate(tmp_path, "--definitions", "rmsnorm_h64,rmsnorm_h65")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no definition has the name 'rmsnorm_h65'" in done.stderr
    assert "the op_type 'moe'" in validate(tmp_path, "--op-types", "rmsnorm,moe").stderr


def test_a_file_that_cannot_be_read_passed_no_check(tmp_path: Path) -> None:
    write_definition(tmp_path, norm()).write_text("")
    done = validate(tmp_path)
    assert done.returncode == 1
    assert "rmsnorm_h64.json: [json]" in done.stdout and "checks   0 of" in done.stdout


def test_the_root_of_a_dataset_will_do(tmp_path: Path) -> None:
    write_definition(tmp_path / "definitions", norm())
    (tmp_path / "workloads").mkdir()
    (tmp_path / "workloads/other.json").write_text("{}")
    assert validate(tmp_path).stdout.startswith("passed: 1 definitions, 0 errors")


def test_json_is_for_machines(tmp_path: Path) -> None:
    write_definition(tmp_path, norm())
    report = json.loads(validate(tmp_path, "--json").stdout)
    assert report["ok"] is True
    assert [item["name"] for item in report["definitions"]] == ["rmsnorm_h64"]


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    done = validate(tmp_path / "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1 and "no such directory" in done.stderr


@pytest.mark.parametrize("data", [b"{", b"\xff", b'{"name": 1, "name": 2}', b"[" * 100_000])
def test_files_that_are_no_json_are_errors(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "rmsnorm").mkdir()
    (tmp_path / "rmsnorm/x.json").write_bytes(data)
    (checked,) = check_tree(tmp_path)
    assert [finding.check for finding in checked.errors] == ["json"]


def test_files_out_of_place_and_names_given_twice_are_errors(tmp_path: Path) -> None:
    write_definition(tmp_path, norm())
    write_definition(tmp_path, norm(), "rmsnorm/copy.json")
    found = {item.path: {f.check for f in item.errors} for item in check_tree(tmp_path)}
    assert found == {
        "rmsnorm/copy.json": {"path", "one-name"},
        "rmsnorm/rmsnorm_h64.json": {"one-name"},
    }


def test_files_being_written_are_not_read(tmp_path: Path) -> None:
    write_definition(tmp_path, norm(), "rmsnorm/.rmsnorm_h64.json.abc.json")
    assert check_tree(tmp_path) == []


def test_no_such_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KerneldefsError, match="no such directory"):
        check_tree(tmp_path / "none")


def a_run(tmp_path: Path, *definitions: dict[str, Any], **options: Any) -> Inputs:
    """Write what the stages of one model leave behind: two configs, the second refused."""
    folder = tmp_path / "candidates"
    candidates(folder, "h200-tp1", *definitions, quarantined=(LOST,))
    candidates(folder, "b200-tp1", status="refused", reason="no such backend")
    folders = sorted(folder.iterdir())
    selection = select(load_model(folders, "m"), **options)
    write_tree(selection, "m", tmp_path / "definitions", tmp_path / "manifest.json")
    for config, status in (("h200-tp1", "captured"), ("b200-tp1", "refused")):
        write_json(tmp_path / f"configs/{config}.json", {"id": config, "notes": ["a note"]})
        reason = "no such backend" if status == "refused" else ""
        summary = {"status": status, "reason": reason, "versions": {"sglang": "0.5.21"}}
        write_json(tmp_path / f"dumps/{config}/capture.json", summary)
    drop = {"cookbook": "v1/m.yaml", "hardware": "MI300X", "entry": "low", "reason": "AMD hardware"}
    write_json(tmp_path / "dropped.json", [drop])
    return Inputs(
        tmp_path / "definitions",
        tmp_path / "manifest.json",
        folder,
        tmp_path / "configs",
        tmp_path / "dumps",
        tmp_path / "dropped.json",
    )


def test_the_report_has_everything_that_happened(tmp_path: Path) -> None:
    report = build(a_run(tmp_path, norm(), sampling(), op_types=["rmsnorm"]))
    assert report["ok"] is True
    (item,) = report["definitions"]
    assert (item["configs"], item["repairs"]) == (["h200-tp1"], ["run", "tags"])
    assert item["sources"]["h200-tp1"][0]["op"] == SOURCE.op
    assert item["passed"] == list(report["checks"])
    assert [row["cause"] for row in report["quarantined"]] == ["reference-denied"]
    assert [row["name"] for row in report["filtered"]] == ["top_k_top_p_sampling_v100"]
    assert report["refused"] == [{"config": "b200-tp1", "reason": "no such backend"}]
    assert report["dropped"][0]["reason"] == "AMD hardware"
    assert report["captures"]["h200-tp1"]["versions"] == {"sglang": "0.5.21"}
    assert report["not_definitions"][0]["configs"] == ["b200-tp1", "h200-tp1"]
    assert set(item["repairs"]) <= report["repairs"].keys()


def test_the_text_names_it_all(tmp_path: Path) -> None:
    text = as_text(build(a_run(tmp_path, norm(), sampling(), op_types=["rmsnorm"])))
    assert text.startswith("m passed: 1 definitions, 0 errors, 0 warnings, 1 quarantined")
    for words in (
        "rmsnorm/rmsnorm_h64.json",
        "allreduce_h7 [reference-denied] it is another operator (h200-tp1)",
        "sampling/top_k_top_p_sampling_v100",
        "b200-tp1: no such backend",
        "v1/m.yaml MI300X low: AMD hardware",
        "h200-tp1: a note",
        "flashinfer.x.plan x4: plans a run()",
        "sglang 0.5.21",
    ):
        assert words in text


def test_each_definition_says_whether_hardware_proves_it(tmp_path: Path) -> None:
    derived = {**norm(32), "tags": ["origin:derived", "status:unverified"]}
    inputs = dataclasses.replace(a_run(tmp_path, norm(), derived), reasons={"h200-tp1": "asked"})
    write_json(tmp_path / "configs/h200-tp1.json", {"arch": "sm_90", "tp": 4})
    capture = {"status": "captured", "reason": "", "backend": "simulate"}
    write_json(tmp_path / "dumps/h200-tp1/capture.json", capture)
    report = build(inputs)
    assert [item["proof"] for item in report["definitions"]] == [{}, {"simulated": ["sm_90 TP4"]}]
    assert "h200-tp1: captured by simulate (asked)" in as_text(report)
    real = {"backend": "engine", "backend_reason": "4 GPUs", "hardware": {"gpu": "NVIDIA H200"}}
    write_json(tmp_path / "dumps/h200-tp1/capture.json", capture | real)
    report = build(inputs)
    assert report["definitions"][1]["proof"] == {"proven": ["sm_90 TP4 (NVIDIA H200)"]}
    text = as_text(report)
    assert "  proven   sm_90 TP4 (NVIDIA H200)\n" in text
    assert "h200-tp1: captured by engine (4 GPUs)" in text


def test_a_definition_that_staging_renamed_keeps_its_sources(tmp_path: Path) -> None:
    """Each config has one rmsnorm_h64; only staging sees that they are two."""
    folder = tmp_path / "candidates"
    candidates(folder, "b200-tp1", norm(dtype="float16"))
    candidates(folder, "h200-tp1", norm())
    selection = select(load_model(sorted(folder.iterdir()), "m"))
    write_tree(selection, "m", tmp_path / "definitions", tmp_path / "manifest.json")
    report = build(Inputs(tmp_path / "definitions", tmp_path / "manifest.json", folder))
    assert {item["name"]: list(item["sources"]) for item in report["definitions"]} == {
        "rmsnorm_h64": ["h200-tp1"],
        "rmsnorm_h64_fp16": ["b200-tp1"],
    }


def test_staged_files_must_be_those_of_the_manifest(tmp_path: Path) -> None:
    inputs = a_run(tmp_path, norm(64), norm(32))
    write_definition(inputs.definitions, {**norm(64), "description": "Edited."})
    (inputs.definitions / "rmsnorm/rmsnorm_h32.json").unlink()
    report = build(inputs)
    assert [(e["path"], e["check"]) for e in report["errors"]] == [
        ("rmsnorm/rmsnorm_h32.json", "manifest"),
        ("rmsnorm/rmsnorm_h64.json", "manifest"),
    ]


def test_a_config_without_a_capture_is_an_error(tmp_path: Path) -> None:
    inputs = a_run(tmp_path, norm())
    write_json(tmp_path / "configs/h100-tp1.json", {"id": "h100-tp1", "notes": []})
    (error,) = build(inputs)["errors"]
    assert error["message"].startswith("the config has no capture and no candidates")


def test_what_earlier_settings_left_over_is_listed_and_no_part_of_the_run(tmp_path: Path) -> None:
    inputs = a_run(tmp_path, norm())
    report = build(dataclasses.replace(inputs, only=("h200-tp1",)))
    assert report["ok"] is True
    assert report["left_over"] == ["b200-tp1"]
    assert list(report["configs"]) == list(report["captures"]) == ["h200-tp1"]
    assert report["refused"] == []
    assert report["not_definitions"][0]["configs"] == ["h200-tp1"]
    assert "Left over from earlier settings, and no part of this run\n  b200-tp1" in as_text(report)
    assert build(inputs)["left_over"] == []


def test_a_model_without_any_definition_is_an_error_that_says_why(tmp_path: Path) -> None:
    report = build(a_run(tmp_path))
    assert report["ok"] is False
    (error,) = report["errors"]
    assert error["check"] == "empty"
    assert "b200-tp1 was refused (no such backend)" in error["message"]
    assert "allreduce_h7 was quarantined (reference-denied)" in error["message"]


def test_a_model_of_which_the_dataset_has_everything_is_no_error(tmp_path: Path) -> None:
    from kerneldefs.dataset.existing import Dataset

    write_definition(tmp_path / "dataset/definitions", norm())
    inputs = a_run(tmp_path, norm(), dataset=Dataset(tmp_path / "dataset"))
    report = build(inputs)
    assert (report["ok"], report["definitions"]) == (True, [])
    assert "rmsnorm_h64: not staged" in as_text(report)


def test_the_report_is_written_before_the_command_fails(tmp_path: Path) -> None:
    inputs = a_run(tmp_path, norm())
    write_definition(inputs.definitions, {**norm(), "extra": 1})
    done = validate(
        inputs.definitions,
        *("--report-json", tmp_path / "report.json", "--report-txt", tmp_path / "report.txt"),
        *("--manifest", inputs.manifest, "--candidates", inputs.candidates),
        *("--configs", inputs.configs, "--dumps", inputs.dumps, "--dropped", inputs.dropped),
    )
    assert done.returncode == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert {error["check"] for error in report["errors"]} == {"schema", "manifest"}
    assert (tmp_path / "report.txt").read_text() == done.stdout
    assert done.stdout.startswith("m FAILED")


def test_a_run_that_staged_nothing_has_a_report_too(tmp_path: Path) -> None:
    inputs = a_run(tmp_path)
    for path in sorted(inputs.definitions.iterdir()):
        path.unlink()
    inputs.definitions.rmdir()
    done = validate(inputs.definitions, "--manifest", inputs.manifest)
    assert done.returncode == 1
    assert "[empty] no definition was made" in done.stdout
