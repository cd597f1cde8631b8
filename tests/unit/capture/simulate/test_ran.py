"""The ledger of layer classes that ran."""

import torch
from kerneldefs.capture.simulate.ran import Ran, unexplained


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
