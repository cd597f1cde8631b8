"""Cutting a model as its survey says, and when a kept survey is believed."""

import json

import pytest
from kerneldefs.capture.layers import Cut
from kerneldefs.capture.simulate import kept
from kerneldefs.capture.simulate import survey as surveying
from kerneldefs.capture.simulate.kinds import Survey, survey
from kerneldefs.capture.simulate.survey import check_cut, cut_model
from kerneldefs.errors import KerneldefsError

from .test_kinds import Layer, model

WHOLE = {"num_hidden_layers": 6, "time_step_limit": [0.0, float("inf")]}
DENSE, SPARSE = 8, 16


def built(layers, dense=2, each=False, **attributes):
    widths = range(1, layers + 1) if each else [DENSE] * dense + [SPARSE] * (layers - dense)
    return model([Layer(i, width, **attributes) for i, width in enumerate(widths)])


class Loading:
    """SGLang at work on a model directory: builds as many layers as its config.json says.

    In this process, where `survey_apart` forks: nothing here has to be undone.
    """

    def __init__(self, folder, monkeypatch):
        self.folder, self.attributes, self.builds = folder, {}, []
        self.path = folder / "config.json"
        self.path.write_text(json.dumps(WHOLE))
        monkeypatch.setattr(surveying, "survey_apart", lambda load, look: look(load()))
        monkeypatch.setattr(surveying, "_server_arguments", lambda: ["chunk_size"])

    def load(self):
        self.builds.append(json.loads(self.path.read_text())["num_hidden_layers"])
        return built(self.builds[-1], **self.attributes)

    def cut(self, kept_at):
        self.builds.clear()
        self.path.write_text(json.dumps(WHOLE))
        return cut_model(self.folder, self.load, kept_at)[0]


@pytest.fixture
def loading(tmp_path, monkeypatch):
    return Loading(tmp_path, monkeypatch)


def test_a_cut_that_lost_a_kind_is_an_error():
    whole = survey(built(6), 6)
    assert whole.needed() == 3
    check_cut(whole, 3)(built(3))
    with pytest.raises(KerneldefsError, match=r"cut to 2 of 6 layers"):
        check_cut(whole, 2)(built(2))


def test_without_a_place_to_keep_surveys_every_capture_makes_one(loading, tmp_path):
    for _ in range(2):
        assert loading.cut(None) == Cut(3, 6, 2)
        assert loading.builds == [6]
    assert json.loads(loading.path.read_text())["num_hidden_layers"] == 3
    assert list(tmp_path.iterdir()) == [loading.path]


def test_a_kept_survey_is_tried_on_the_cut_model_alone(loading, tmp_path):
    place = tmp_path / "surveys" / "a.json"
    first = loading.cut(place), loading.path.read_text()
    assert loading.builds == [6]
    assert (loading.cut(place), loading.path.read_text()) == first
    assert loading.builds == [3]


def test_a_server_argument_that_hangs_on_the_backend_changes_no_layer(loading, tmp_path):
    place = tmp_path / "surveys" / "a.json"
    for chunk, builds in ((1, [6]), (2, [3])):
        loading.attributes = {"chunk_size": chunk}
        assert loading.cut(place) == Cut(3, 6, 2)
        assert loading.builds == builds


def test_a_backend_that_makes_another_kind_of_layers_is_surveyed_itself(loading, tmp_path, capsys):
    place = tmp_path / "surveys" / "a.json"
    loading.cut(place)
    loading.attributes = {"dense": 1, "backend": "other"}
    assert loading.cut(place) == Cut(2, 6, 2)
    assert loading.builds == [3, 6]
    assert "does not hold" in capsys.readouterr().out
    assert loading.cut(place) == Cut(2, 6, 2)
    assert loading.builds == [2]


@pytest.mark.parametrize("answers", [[None, None], [None, Survey((), ())]], ids=["not", "no list"])
def test_a_model_that_is_not_built_is_left_whole(answers, loading, tmp_path, monkeypatch):
    place = tmp_path / "surveys" / "a.json"
    loading.cut(place)
    monkeypatch.setattr(surveying, "survey_apart", lambda load, look: answers.pop(0))
    assert loading.cut(place) == Cut(6, 6)
    assert not answers
    assert json.loads(loading.path.read_text()) == WHOLE


def test_a_model_of_which_all_layers_are_needed_is_built_once(loading, tmp_path):
    place = tmp_path / "surveys" / "a.json"
    for backend in "auto", "other":
        loading.attributes = {"each": True, "backend": backend}
        assert loading.cut(place) == Cut(6, 6, 6)
        assert loading.builds == [6]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"kinds": 6, "ignored": []}',
        '{"kinds": [1, 2, 3, 4, 5, 6], "ignored": []}',
        '{"kinds": ["a"], "ignored": []}',
        "\x00",
    ],
)
def test_a_damaged_or_foreign_file_is_no_survey(text, loading, tmp_path, capsys):
    place = tmp_path / "a.json"
    place.write_text(text)
    assert loading.cut(place) == Cut(3, 6, 2)
    assert loading.builds == [6]
    assert "surveying anew" in capsys.readouterr().out
    loading.cut(place)
    assert loading.builds == [3]


def test_a_survey_that_cannot_be_kept_is_said(loading, tmp_path, capsys):
    place = loading.path / "is no folder" / "a.json"
    assert loading.cut(place) == Cut(3, 6, 2)
    assert "the survey is not kept" in capsys.readouterr().out


# ---- what a survey is kept under


ARGUMENTS = {"model_path": "/tmp/1", "tp_size": 8, "attention_backend": "flashinfer"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv(kept.SURVEYS, str(tmp_path / "surveys"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")

    def at(arguments=ARGUMENTS, machine=("sm_90", 8, 0), **files):
        for name, text in files.items():
            (folder / f"{name}.json").write_text(text)
        return kept.kept_file(folder, arguments, *machine)

    return at


def test_attention_backends_of_one_model_share_a_survey(place, tmp_path):
    own = {"model_path": "/tmp/2", "tp_size": 8}
    assert place() == place(own) == place({**own, "prefill_attention_backend": "fa3"})
    assert place().parent == tmp_path / "surveys"


@pytest.mark.parametrize(
    "other",
    [
        {"arguments": {**ARGUMENTS, "tp_size": 4}},
        {"arguments": {**ARGUMENTS, "moe_runner_backend": "triton"}},
        {"machine": ("sm_100", 8, 0)},
        {"machine": ("sm_90", 4, 0)},
        {"machine": ("sm_90", 8, 1)},
        {"config": '{"num_hidden_layers": 6}'},
        {"hf_quant_config": "{}"},
    ],
    ids=str,
)
def test_nothing_else_shares_it(other, place):
    assert place() != place(**other)


def test_another_release_does_not_share_it(place, monkeypatch):
    here = place()
    monkeypatch.setattr(kept, "installed_versions", lambda: {"sglang": "0.0.1"})
    assert place() != here


def test_nothing_is_kept_where_no_folder_is_named(place, monkeypatch):
    monkeypatch.delenv(kept.SURVEYS)
    assert place() is None


def test_the_fork_tells_what_it_sees_and_a_failure_is_no_survey(monkeypatch):
    monkeypatch.setattr(surveying, "when_built", _Building)

    def broken():
        raise RuntimeError

    assert surveying.survey_apart(lambda: _Building.then(built(3)), _look) == _look(built(3))
    assert surveying.survey_apart(broken, _look) is None


def _look(seen):
    return survey(seen, 3)


class _Building:
    """`when_built` without SGLang: the load calls what is to happen when the model is built."""

    then = None

    def __init__(self, then):
        _Building.then = then

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        return False
