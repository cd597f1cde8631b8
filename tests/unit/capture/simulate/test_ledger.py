"""What the simulation skipped and guessed."""

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


def test_skipped_work_is_counted_by_kind_with_a_sentence():
    ledger = Ledger()
    ledger.skip("triton kernel", "b")
    ledger.skip("triton kernel", "a")
    ledger.skip("triton kernel", "b")
    assert ledger.to_json()["skipped"] == {
        "triton kernel": {"why": "Triton kernel launch", "calls": {"a": 1, "b": 2}}
    }
