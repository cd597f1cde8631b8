"""What the simulation skipped and guessed."""

from kerneldefs.capture.simulate.allowed import HARMLESS, why_skipped
from kerneldefs.capture.simulate.ledger import Ledger


def test_a_guess_puts_its_own_step_in_doubt_and_no_later_one():
    ledger = Ledger()
    ledger.guess("a length")
    assert ledger.marks() == ("after a guessed value: a length",)
    ledger.start_step()
    assert ledger.marks() == ()
    assert ledger.to_json()["guesses"] == {"a length": 1}


def test_a_guess_while_loading_puts_every_step_in_doubt():
    ledger = Ledger()
    ledger.guess("a scale")
    ledger.end_loading()
    ledger.start_step()
    ledger.guess("a length")
    assert ledger.marks() == ("after a guessed value: a length", "after a guessed value: a scale")
    ledger.start_step()
    assert ledger.marks() == ("after a guessed value: a scale",)


def test_skipped_work_is_counted_with_why_it_loses_nothing_and_the_unknown_is_a_warning():
    ledger = Ledger()
    ledger.skip("triton kernel", "softcap_inplace_logits_kernel")
    ledger.skip("triton kernel", "softcap_inplace_logits_kernel")
    ledger.skip("triton kernel", "never_heard_of")
    found = ledger.to_json()["skipped"]["triton kernel"]
    assert found["softcap_inplace_logits_kernel"] == {
        "calls": 2,
        "why": "changes logits in place; their shape is known",
    }
    assert found["never_heard_of"] == {"calls": 1, "why": None}
    assert ledger.unexplained() == [
        "triton kernel never_heard_of was skipped, and nothing says what that loses"
    ]


def test_a_compiled_kernel_of_flashinfer_is_explained_by_the_recorded_api_above_it():
    ledger = Ledger()
    with ledger.inside_api():
        ledger.skip("flashinfer kernel", "norm_module.rmsnorm")
    assert ledger.unexplained() == []
    ledger.skip("flashinfer kernel", "norm_module.rmsnorm")
    assert len(ledger.unexplained()) == 1


def test_a_guess_whose_answer_matters_to_no_call_puts_nothing_in_doubt(monkeypatch):
    site = "sglang.somewhere.warns"
    monkeypatch.setattr(f"{Ledger.__module__}._asking", lambda: site)
    monkeypatch.setitem(HARMLESS, site, "a warning")
    ledger = Ledger()
    ledger.guess("a scale")
    assert ledger.marks() == ()
    assert ledger.to_json()["guesses"] == {f"a scale, in {site}": 1}
    assert ledger.to_json()["harmless"] == {site: "a warning"}


def test_skipped_work_that_nothing_explains_puts_the_calls_after_it_in_doubt():
    ledger = Ledger()
    ledger.skip("triton kernel", "softcap_inplace_logits_kernel")
    assert ledger.marks() == ()
    ledger.skip("triton kernel", "never_heard_of")
    assert ledger.marks() == (
        "after triton kernel never_heard_of was skipped, and nothing says what that loses",
    )
    ledger.start_step()
    assert ledger.marks() == ()


def test_a_compiled_kernel_below_no_recorded_api_puts_calls_in_doubt():
    ledger = Ledger()
    with ledger.inside_api():
        ledger.skip("flashinfer kernel", "norm_module.rmsnorm")
    assert ledger.marks() == ()
    ledger.skip("flashinfer kernel", "norm_module.rmsnorm")
    assert len(ledger.marks()) == 1


def test_naming_a_stream_loses_nothing_and_a_call_of_the_driver_may():
    assert why_skipped("stubbed call", "cuda.bindings.driver.CUstream")
    assert why_skipped("stubbed call", "cuda.bindings.driver.cuLaunchKernel") is None
