"""Telling the kinds of a model's layers from its built modules."""

import json

import pytest
import torch
from kerneldefs.capture.simulate.kinds import Survey, survey


class Layer(torch.nn.Module):
    def __init__(self, layer_id, width=8, **attributes):
        super().__init__()
        self.layer_id = layer_id
        self.proj = torch.nn.Linear(8, width, device="meta")
        self.proj.prefix = f"model.layers.{layer_id}.proj"
        for name, value in attributes.items():
            setattr(self, name, value)


def model(layers):
    whole = torch.nn.Module()
    whole.layers = torch.nn.ModuleList(layers)
    whole.other = torch.nn.ModuleList([torch.nn.ReLU()])
    return whole


def kinds(layers):
    found = survey(model(layers), len(layers)).kinds
    return [found.index(kind) for kind in found]


def test_layers_that_differ_in_their_number_alone_are_of_one_kind():
    assert kinds([Layer(i) for i in range(4)]) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "second",
    [
        Layer(1, width=16),
        Layer(1, window=128),
        Layer(1, act=torch.nn.ReLU()),
        Layer(1, dims=[1, 2]),
        Layer(1, dtype=torch.float16),
    ],
    ids=["parameter shape", "attribute", "module class", "list", "dtype"],
)
def test_layers_that_are_built_differently_are_of_two_kinds(second):
    assert kinds([Layer(0), second, Layer(2)]) == [0, 1, 0]


def test_lists_make_a_kind_by_what_they_hold():
    shared, names = [1, 2], [f"model.layers.{i}.proj" for i in range(2)]
    layers = [
        Layer(0, dims=shared),
        Layer(1, dims=shared),
        Layer(2, dims=[1, 2]),
        Layer(3, dims=[2]),
    ]
    assert kinds(layers) == [0, 0, 0, 3]
    assert kinds([Layer(i, names=(names[i], None)) for i in range(2)]) == [0, 0]
    assert kinds([Layer(i, steps=[object()]) for i in range(2)]) == [0, 0]


def test_a_number_that_counts_layers_makes_no_kind_whatever_it_is_called():
    assert kinds([Layer(i, depth=i + 1) for i in range(4)]) == [0, 0, 0, 0]
    assert kinds([Layer(i, block=i // 2) for i in range(6)]) == [0] * 6
    assert kinds([Layer(i, sparse=int(i > 1)) for i in range(4)]) == [0, 0, 2, 2]


def test_a_flag_of_the_last_layer_makes_no_kind_but_any_other_flag_does():
    assert kinds([Layer(i, is_last_layer=i == 3) for i in range(4)]) == [0, 0, 0, 0]
    assert kinds([Layer(i, sparse=i == 3) for i in range(4)]) == [0, 0, 0, 3]
    assert kinds([Layer(i, last_sparse=i == 2) for i in range(5)]) == [0, 0, 2, 0, 0]


def test_a_server_argument_makes_no_kind_where_all_layers_share_it():
    def seen(values, **known):
        return survey(model([Layer(i, page_size=v) for i, v in enumerate(values)]), 3, **known)

    whole = seen([1, 1, 1], arguments=["page_size", "width"])
    assert whole.ignored == ("0:.page_size",)
    assert whole.kinds[0] not in seen([1, 1, 1]).kinds
    assert seen([64, 64, 64], ignored=whole.ignored).kinds == whole.kinds
    assert len(set(seen([1, 64, 1], arguments=["page_size"]).kinds)) == 2


@pytest.mark.parametrize(
    ("kinds", "kept"),
    [
        ("", 0),
        ("a", 1),
        ("aaaa", 1),
        ("aaab", 2),
        ("abab", 2),
        ("aabaab", 3),
        ("aabbbc", 4),
        ("aabcbc", 4),
        ("abcabcb", 5),
    ],
)
def test_enough_layers_are_kept_for_one_of_each_kind_and_an_own_last_one(kinds, kept):
    assert Survey(tuple(kinds), ()).needed() == kept


@pytest.mark.parametrize(
    ("kinds", "cut"),
    [("a", "a"), ("aaaa", "a"), ("aaab", "ab"), ("aabcbc", "aabc"), ("abba", "aba")],
)
def test_a_cut_model_ends_as_the_whole_one_does(kinds, cut):
    assert Survey(tuple(kinds), ()).of_cut(len(cut)) == tuple(cut)


def test_a_survey_is_the_same_as_json():
    found = survey(model([Layer(i, depth=i) for i in range(3)]), 3)
    assert found.ignored
    assert Survey.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_model_without_a_list_of_its_layers_is_not_surveyed():
    assert survey(model([Layer(0)]), 3) == Survey((), ())
