from __future__ import annotations

import os
import signal

import pytest

from estimators.processes.stop_signals import stop_signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_is_a_request_and_its_error_has_its_exit_code(number: signal.Signals, code: int) -> None:
    obeyed: list[str | None] = []
    before = signal.getsignal(number)
    with stop_signals() as signals:
        signals.when_received(lambda: obeyed.append(signals.received))
        assert signals.received is None and not obeyed
        os.kill(os.getpid(), number)
        assert signals.received == number.name and obeyed == [number.name]
        assert signal.getsignal(number) is before, "a second one ends the process"
    error = signals.error("step 3")
    assert error.exit_code == code and number.name in error.summary and error.found == "step 3"


def test_who_asks_late_is_told_at_once() -> None:
    obeyed: list[bool] = []
    with stop_signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        signals.when_received(lambda: obeyed.append(True))
    assert obeyed == [True]


def test_what_was_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what a script runs in the background
    try:
        with stop_signals() as signals:
            os.kill(os.getpid(), signal.SIGINT)
            assert signals.received is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received == "SIGTERM"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_after_the_block_all_is_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
