"""The ledger of layer classes that ran."""

import torch
from kerneldefs.capture.record import KernelCall
from kerneldefs.capture.simulate.ran import Ran, in_doubt, unexplained


class Ran1(torch.nn.Module):
    def forward(self, x):
        return x


class Idle(Ran1):
    pass


class Pooler(Ran1):
    pass


class Patches(Ran1):
    pass


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([Ran1(), Ran1()])
        self.side = torch.nn.ModuleList([Idle()])
        self.pooler = Pooler()
        self.visual = torch.nn.Sequential(Patches())

    def forward(self, x):
        return self.layers[0](x)


def test_a_class_of_which_no_module_ran_has_a_listed_reason_or_is_a_warning():
    model = Model()
    ran = Ran(model)
    model.forward(1)
    missing = ran.missing()
    assert sorted(missing) == ["Idle", "Patches", "Pooler"]
    assert missing["Patches"] == {
        "modules": ["visual.N"],
        "why": "the probe sends text alone",
    }
    assert unexplained(missing) == ["no Idle ran (side.N), and nothing says why"]


class Mixer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.projection = Ran1()

    def forward(self, x):
        return self.projection(x)


def test_a_module_whose_forward_was_called_as_a_method_ran_if_a_part_of_it_did():
    model = torch.nn.Sequential(Mixer())
    ran = Ran(model)
    model[0].forward(1)
    assert ran.missing() == {}


def call(layer, marks=()):
    return KernelCall("op", {}, {}, (), None, {}, "decode", layer, None, None, marks)


def test_calls_of_the_layer_in_which_a_class_did_not_run_are_in_doubt():
    missing = {
        "Gate": {"modules": ["model.layers.N.mlp.gate"], "why": None},
        "Pooler": {"modules": ["pooler"], "why": "pools"},
    }
    layers = ["model.layers.N.mlp", "model.layers.N.mlp.up", "model.layers.N.mlp2", "model", ""]
    why = "no Gate ran (model.layers.N.mlp.gate), and nothing says why"
    found = in_doubt([call(layer, ("guessed",)) for layer in layers], missing)
    assert [one.marks for one in found] == [("guessed", why)] * 2 + [("guessed",)] * 3


def test_a_class_at_the_root_of_the_model_puts_every_call_in_doubt():
    missing = {"Model": {"modules": ["model"], "why": None}}
    found = in_doubt([call("model.layers.N"), call("")], missing)
    assert all(len(one.marks) == 1 for one in found)
