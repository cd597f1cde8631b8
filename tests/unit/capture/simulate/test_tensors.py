"""Pretended CUDA tensors: shapes without storage, values where they are small, guesses said."""

import pytest
import torch
from kerneldefs.capture.simulate import device, modes, tensors, values
from kerneldefs.capture.simulate.arch import arch
from kerneldefs.capture.simulate.ledger import LEDGER
from kerneldefs.errors import KerneldefsError


@pytest.fixture(scope="module", autouse=True)
def device_guard():
    device._install_device_guard()


@pytest.fixture(autouse=True)
def pretend(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    LEDGER.guesses.clear()
    LEDGER.start_step()
    LEDGER.end_loading()
    with tensors.PretendedCuda(), modes.PretendedDevice():
        yield


def test_a_huge_tensor_costs_no_memory_and_computes_shapes():
    weights = torch.empty(1 << 20, 1 << 20, dtype=torch.bfloat16, device="cuda:3")
    out = weights[:7] @ weights.t()
    assert (tuple(out.shape), out.dtype, str(out.device)) == (
        (7, 1 << 20),
        torch.bfloat16,
        "cuda:0",
    )


def test_small_values_survive_the_way_to_the_device_and_back():
    lengths = torch.tensor([3, 1, 2], device="cuda")
    total = torch.cumsum(lengths, 0)
    lengths[0] = 5
    assert total.tolist() == [3, 4, 6]
    assert lengths.max().item() == 5
    assert torch.nonzero(lengths > 1).shape == (2, 1)
    assert torch.equal(lengths.cpu(), torch.tensor([5, 1, 2]))
    assert torch.equal(lengths, lengths.clone()) and not torch.equal(lengths, lengths + 1)
    assert torch.allclose(lengths.float(), lengths.float() + 1e-9)
    assert not LEDGER.guesses


def test_new_tensors_from_data_live_on_the_device_of_their_model():
    lengths = torch.tensor([3, 1], device="cuda")
    offsets = torch.cat([lengths.new_tensor([0]), lengths]).cumsum(-1)
    assert (str(offsets.device), offsets.tolist()) == ("cuda:0", [0, 3, 4])


def test_views_share_the_values_that_they_show():
    base = torch.zeros(4, dtype=torch.int64, device="cuda")
    base[1:3].fill_(7)
    assert base.tolist() == [0, 7, 7, 0]


def test_what_something_skipped_wrote_is_unknown_until_it_is_written_anew():
    lengths = torch.arange(4, device="cuda")
    values.forget(lengths[1:3])
    assert lengths[:1].tolist() == [0] and not LEDGER.guesses
    lengths[2:].fill_(9)
    assert lengths[2:].tolist() == [9, 9] and not LEDGER.guesses
    lengths[1].item()
    lengths.sum().item()
    assert len(LEDGER.guesses) == 1 and LEDGER.guesses.total() == 2
    lengths.copy_(torch.arange(4))
    assert lengths.tolist() == [0, 1, 2, 3] and LEDGER.guesses.total() == 2


def test_an_unknown_value_that_is_written_makes_what_it_overwrote_unknown():
    lengths = torch.zeros(2, dtype=torch.int64, device="cuda")
    large = torch.ones(1 << 21, dtype=torch.int64, device="cuda")
    lengths[:1].copy_(large[:1])
    assert lengths[1:].tolist() == [0] and not LEDGER.guesses
    lengths[0].item()
    assert LEDGER.guesses.total() == 1
    one, other = lengths[:1], torch.zeros(1, dtype=torch.int64, device="cuda")
    torch._foreach_copy_([one, other], [large[:1], torch.ones(1, dtype=torch.int64, device="cuda")])
    assert other.tolist() == [1] and LEDGER.guesses.total() == 1


def test_a_value_that_nobody_knows_is_a_guess_that_is_said():
    large = torch.zeros(1 << 21, dtype=torch.int64, device="cuda")
    large.max().item()
    torch.nonzero(large)
    assert len(LEDGER.guesses) == 2
    assert len(LEDGER.marks()) == 2
    LEDGER.start_step()
    assert LEDGER.marks() == ()


def test_an_unknown_compiled_operator_that_returns_a_value_is_an_error_that_names_it():
    library = torch.library.Library("sgl_kernel", "FRAGMENT")
    library.define("kerneldefs_probe(Tensor x) -> Tensor")
    library.define("kerneldefs_probe_out(Tensor x, Tensor! out) -> ()")
    x = torch.empty(2, device="cuda")
    torch.ops.sgl_kernel.kerneldefs_probe_out(x, x)
    with pytest.raises(NotImplementedError, match="kerneldefs_probe"):
        torch.ops.sgl_kernel.kerneldefs_probe(x)


def test_cpu_tensors_stay_real():
    assert (torch.arange(3) + 1).tolist() == [1, 2, 3]


def test_an_architecture_that_cannot_be_simulated_names_the_nearest():
    assert arch("sm_100").major == 10
    with pytest.raises(KerneldefsError, match="sm_90"):
        arch("sm_91")
