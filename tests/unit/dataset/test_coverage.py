"""What is tried, what a trial came to, and the table of it."""

import dataclasses
import re
from pathlib import Path

import pytest
from kerneldefs.dataset import coverage
from kerneldefs.dataset.coverage import Trial, find_trials, outcome_of, run_trials
from kerneldefs.dataset.coveragetable import as_markdown
from kerneldefs.serving.cookbook import REPO_ID
from kerneldefs.serving.settings import Settings
from serving.make import MOE, entry, model, write_cookbook, write_model

ARCHS = ("sm_90", "sm_100")
NOW, LATER = ("now", "now"), ("later", "later")
# Stand in for the two commands: what happens is in the name of the serving config.
CAPTURE = """
import json, pathlib, sys
config = json.loads(pathlib.Path(sys.argv[1]).read_text())
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
assert "--model-config" in sys.argv
if config["tp"] == 8:
    sys.exit("error: there is no such kernel")
out.mkdir()
status = "refused" if config["arch"] == "sm_100" else "captured"
reason = "SGLang: no" if status == "refused" else ""
versions = {"sglang": "1", "flashinfer-python": "2", "torch": "3"}
summary = {"status": status, "reason": reason, "versions": versions}
(out / "capture.json").write_text(json.dumps(summary))
"""
NORMALISE = """
import json, pathlib, sys
summary = json.loads((pathlib.Path(sys.argv[2]) / "capture.json").read_text())
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(exist_ok=True)
names = {"a": "gemm", "b": "gemm", "c": "rmsnorm"} if summary["status"] == "captured" else {}
definitions = {name: {"op_type": op_type} for name, op_type in names.items()}
(out / "index.json").write_text(json.dumps({"capture": summary, "definitions": definitions}))
(out / "quarantine.json").write_text('[{"cause": "some-cause"}]')
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A cookbook of four models: with a config, with a sibling's, with none, and of pictures."""
    served = {"H200": [entry()], "MI300X": [entry()], "A100": [entry()]}
    models = [
        model("Base", "o/base", {"H200": [entry(tp=1)], "B200": [entry()]}),
        model("Chat", "o/chat", served),
        model("None", "o/none", served),
        model("Picture", "o/picture", served, diffusion={}),
    ]
    root = write_cookbook(tmp_path / "book", {"v1.0/m.yaml": models})
    for name in ("base", "other"):
        write_model(tmp_path / f"configs/o--{name}", MOE)
    siblings = tmp_path / "siblings.yaml"
    siblings.write_text("o/chat: o/base\no/base: o/other\n")
    monkeypatch.setattr(coverage.read_siblings, "__defaults__", (siblings,))
    return Settings.from_mapping(
        {
            "model": "all",
            "cookbook": str(root),
            "config_sources": str(tmp_path / "configs"),
            "results": str(tmp_path / "results"),
        }
    )


def rows(trials: tuple[Trial, ...]) -> set[tuple[str, str, str, bool, str | None]]:
    return {(t.repo_id, t.config.arch, t.served, t.in_cookbook, t.sibling) for t in trials}


def test_every_model_is_tried_at_tp_1_and_as_the_cookbook_serves_it(settings: Settings) -> None:
    found = find_trials(settings, ARCHS)
    assert rows(found.trials) == {
        *(
            (name, arch, "tp1-bf16", False, None)
            for name in ("o/base", "o/other")
            for arch in ARCHS
        ),
        *(("o/chat", arch, "tp1-bf16", False, "o/base") for arch in ARCHS),
        ("o/base", "sm_90", "tp1-bf16", True, None),
        ("o/base", "sm_100", "tp8-bf16", True, None),
        ("o/chat", "sm_90", "tp8-bf16", True, "o/base"),
    }
    assert list(found.without) == ["o/none"]
    assert found.without["o/none"].startswith("its config.json is not in")
    assert {trial.config.model for trial in found.trials} == {"base", "other", "chat"}
    backends = {trial.config.attention_backend for trial in found.trials}
    assert backends == {None, "flashinfer"}


def test_what_would_capture_the_same_is_captured_once(settings: Settings, tmp_path: Path) -> None:
    trials = find_trials(settings, ["sm_90"]).trials
    folders = {trial.folder(tmp_path) for trial in trials if trial.served == "tp1-bf16"}
    assert {path.relative_to(tmp_path).as_posix() for path in folders} == {
        f"o--{name}/sm_90-tp1-bf16-{backend}"
        for name in ("base", "other")
        for backend in ("auto", "flashinfer")
    }


def test_a_model_may_be_served_on_none_of_the_architectures(settings: Settings) -> None:
    found = find_trials(settings, ["sm_100"])
    assert ("o/chat", "sm_100", "tp1-bf16", False, "o/base") in rows(found.trials)
    assert not any(trial.in_cookbook for trial in found.trials if trial.sibling)


def test_on_further_architectures_a_sample_is_tried_and_what_the_cookbook_serves(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "SAMPLE", ("o/other",))
    found = find_trials(settings, ["sm_90"], ["sm_80", "sm_90", "sm_120"])
    assert found.further == {"sm_80", "sm_120"}
    assert {row for row in rows(found.trials) if row[1] in found.further} == {
        ("o/other", "sm_80", "tp1-bf16", False, None),
        ("o/other", "sm_120", "tp1-bf16", False, None),
        ("o/chat", "sm_80", "tp8-bf16", True, "o/base"),
    }
    tables = as_markdown(found, {}, "the command").split("\n## ")
    ((_, _, names, _, *lines),) = (
        table.strip().split("\n") for table in tables if table.startswith("On further")
    )
    assert names == (
        "| model | served as | sm_80 flashinfer | sm_80 own | sm_120 flashinfer | sm_120 own |"
    )
    none = "not tried"
    assert lines == [
        f"| o/chat as o/base | tp8-bf16 | {none} | {none} |  |  |",
        f"| o/other | tp1-bf16 | {none} | {none} | {none} | {none} |",
    ]


def test_a_config_that_says_too_little_is_listed_and_not_tried(
    settings: Settings, tmp_path: Path
) -> None:
    write_model(tmp_path / "configs/o--cut", MOE, {"quant_algo": "FP8"})
    found = find_trials(settings, ARCHS)
    assert "o/cut" not in {trial.repo_id for trial in found.trials}
    assert list(found.unusable) == ["o/cut"]
    text = as_markdown(found, {}, "the command")
    assert (
        "## Models whose config.json says too little\n\n- o/cut: hf_quant_config.json of " in text
    )


def test_one_model_is_tried_alone(settings: Settings) -> None:
    found = find_trials(dataclasses.replace(settings, model=("base",)), ARCHS)
    assert {trial.repo_id for trial in found.trials} == {"o/base"}


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with stand-ins for the commands."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "capture.py").write_text(CAPTURE)
    (folder / "normalise.py").write_text(NORMALISE)
    monkeypatch.setattr(coverage, "SCRIPTS", folder)
    monkeypatch.setenv("KERNELDEFS_WORKER_OWNER", "")
    return folder


def test_outcomes_are_told_apart_and_kept(settings: Settings, commands: Path) -> None:
    trials = find_trials(settings, ARCHS).trials
    done = {
        (t.config.arch, t.config.tp): o for t, o in run_trials(trials, settings.results, NOW, 2)
    }
    captured, refused, failed = (done[key] for key in (("sm_90", 1), ("sm_100", 1), ("sm_90", 8)))
    assert (captured.status, captured.reason) == ("captured", "")
    assert (captured.definitions, captured.quarantined) == ({"gemm": 2, "rmsnorm": 1}, 1)
    assert captured.versions == {"sglang": "1", "flashinfer-python": "2", "torch": "3"}
    assert (refused.status, refused.reason) == ("refused", "SGLang: no")
    assert (failed.status, failed.reason) == ("failed", "capture.py: there is no such kernel")
    assert all(outcome_of(trial, settings.results) is not None for trial in trials)
    assert not list(run_trials(trials, settings.results, NOW, 2))


def test_a_change_of_code_tries_again_what_it_may_not_keep(
    settings: Settings, commands: Path
) -> None:
    trials = find_trials(settings, ["sm_90"]).trials
    first = list(run_trials(trials, settings.results, NOW, 1))
    good = [trial for trial, outcome in first if outcome.status == "captured"]
    assert 0 < len(good) < len(first)

    def captured() -> int:
        logs = [trial.folder(settings.results) / "capture.py.log" for trial, _ in first]
        times = {log: log.stat().st_mtime_ns for log in logs}
        new = sum(times[log] != before.get(log) for log in logs)
        before.update(times)
        return new

    before: dict[Path, int] = {}
    captured()
    again = list(run_trials(trials, settings.results, ("now", "later"), 1))
    assert (len(again), captured()) == (len(first), len(first) - len(good))  # normalised anew
    kept = list(run_trials(trials, settings.results, LATER, 1, keep=True))
    assert (len(kept), captured()) == (len(first) - len(good), len(first) - len(good))
    list(run_trials(trials, settings.results, LATER, 1))
    assert captured() == len(good)


def test_a_run_that_is_cut_short_goes_on_where_it_was(settings: Settings, commands: Path) -> None:
    trials = find_trials(settings, ["sm_90"]).trials
    running = run_trials(trials, settings.results, NOW, 1)
    next(running)
    running.close()
    left = len(list(run_trials(trials, settings.results, NOW, 1)))
    assert 2 <= left < 6  # of six, one was done, and one or two were under way


def test_a_capture_without_definitions_is_a_failure(settings: Settings, commands: Path) -> None:
    (commands / "normalise.py").write_text(NORMALISE.replace('== "captured"', '== "never"'))
    trials = find_trials(dataclasses.replace(settings, model=("base",)), ["sm_90"]).trials
    ((_, outcome),) = list(run_trials(trials[:1], settings.results, NOW, 1))
    reason = "nothing but quarantined definitions (some-cause)"
    assert (outcome.status, outcome.reason) == ("failed", reason)


def test_the_table_shows_every_trial_and_every_reason(settings: Settings, commands: Path) -> None:
    found = find_trials(settings, ARCHS)
    list(run_trials(found.trials, settings.results, NOW, 2))
    outcomes = {
        place: outcome
        for place, trial in enumerate(found.trials)
        if (outcome := outcome_of(trial, settings.results)) is not None
    }
    text = as_markdown(found, outcomes, "the command")
    assert text == as_markdown(found, dict(reversed(outcomes.items())), "the command")
    assert "\nthe command\n" in text
    assert "Releases: sglang 1, flashinfer-python 2, torch 3.\n" in text
    assert "| o/base | tp1-bf16 | 3 (2) | 3 (2) | R1 | R1 |\n" in text
    assert "| o/chat as o/base | tp8-bf16 | F1 | F1 |  |  |\n" in text
    assert "- **R1** refused: SGLang: no\n" in text
    assert "- **F1** failed: capture.py: there is no such kernel\n" in text
    assert "\n- o/none\n" in text
    assert "| op_type | sm_90 |\n| --- | --- |\n| gemm | 3 |\n| rmsnorm | 3 |\n" in text
    counts = {
        name: int(n) for name, n in re.findall(r"\| (captured|refused|failed)\b.*\| (\d+) ", text)
    }
    assert sum(counts.values()) == len(found.trials)
    del outcomes[0]
    assert as_markdown(found, outcomes, "the command").count("not tried") == 1


def test_outcomes_of_another_form_are_made_again(settings: Settings, commands: Path) -> None:
    trials = find_trials(dataclasses.replace(settings, model=("base",)), ["sm_90"]).trials[:1]
    list(run_trials(trials, settings.results, NOW, 1))
    path = trials[0].folder(settings.results) / "outcome.json"
    for text in ("{}", "[", path.read_text().replace('"reason"', '"why"')):
        path.write_text(text)
        assert outcome_of(trials[0], settings.results) is None
        assert len(list(run_trials(trials, settings.results, NOW, 1))) == 1


def test_siblings_are_repositories_that_borrow_from_no_borrower() -> None:
    siblings = coverage.read_siblings(coverage.SIBLINGS_FILE)
    assert len(siblings) > 20
    assert all(REPO_ID.fullmatch(name) for pair in siblings.items() for name in pair)
    assert not set(siblings) & set(siblings.values())
    quantized = re.compile("fp8|fp4|int4|awq|gptq", re.IGNORECASE)
    for borrower, lender in siblings.items():
        assert quantized.findall(borrower) == quantized.findall(lender)
