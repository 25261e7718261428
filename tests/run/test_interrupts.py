"""Ctrl-C and SIGTERM: the run ends in order, and says how it goes on."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from loguru import logger

from miha.run.interrupts import resumable


@pytest.fixture
def said():
    """The warnings that are logged meanwhile."""
    lines = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="WARNING")
    yield lines
    logger.remove(sink)


def progress():
    return "3 of 14 trainings are on the disk, in 'logs/x'."


TEXT = f"Stopped. {progress()} Run the same script again with these `logs` to go on."


def test_ctrl_c_says_how_the_run_goes_on_and_is_raised_on(said):
    with pytest.raises(KeyboardInterrupt) as interrupted, resumable(progress):
        raise KeyboardInterrupt
    assert said == [TEXT]
    assert interrupted.value.args == (TEXT,)


def test_an_interruption_that_says_something_keeps_its_words(said):
    with pytest.raises(KeyboardInterrupt, match="my own") as interrupted, resumable(progress):
        raise KeyboardInterrupt("my own")
    assert (said, interrupted.value.args) == ([TEXT], ("my own",))


def test_sigterm_ends_the_process_in_order_with_a_shells_status(said):
    with pytest.raises(SystemExit) as ended, resumable(progress):
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM
    assert said == [TEXT]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_the_application_handles_is_left_to_it(said):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with resumable(progress):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (seen, said) == ([signal.SIGTERM], [])


def test_a_run_outside_the_main_thread_handles_no_signals(said):
    found = []

    def work():
        with resumable(progress):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (found, said) == ([signal.SIG_DFL], [])


@pytest.mark.parametrize("error", [ValueError("wrong"), MemoryError()])
def test_another_error_says_nothing_of_going_on(said, error):
    with pytest.raises(type(error)), resumable(progress):
        raise error
    assert said == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_run_that_ends_leaves_no_trace(said):
    with resumable(progress):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert said == []
