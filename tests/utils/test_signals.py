"""What a signal raises comes to its end, also where a library makes another error of it."""

from __future__ import annotations

import os
import signal

import pytest

from miha.utils import signals
from miha.utils.signals import raise_if_asked, stopping_in_order

MEANING = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: SystemExit}


@pytest.fixture(autouse=True)
def defaults():
    """The handlers of a process that has set none."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def library(number):
    """Make another error of what a signal raises, as TensorFlow's tracing does."""
    try:
        os.kill(os.getpid(), number)
    except BaseException:
        raise TypeError("Exception encountered when calling a layer.") from None


@pytest.mark.parametrize("number", MEANING)
def test_what_a_library_has_made_of_a_stop_is_the_stop_again(number):
    with pytest.raises(MEANING[number]) as stopped, stopping_in_order():
        library(number)
    assert isinstance(stopped.value.__cause__, TypeError)
    if number == signal.SIGTERM:
        assert stopped.value.code == 143


@pytest.mark.parametrize("number", MEANING)
def test_a_stop_that_was_taken_for_a_clones_failure_is_raised_again(number):
    with pytest.raises(MEANING[number]), stopping_in_order():
        try:
            library(number)
        except Exception as error:
            assert isinstance(error, TypeError)
        raise_if_asked()


def test_without_a_signal_nothing_is_raised_and_errors_stay_what_they_are():
    raise_if_asked()
    with pytest.raises(ValueError, match="wrong"), stopping_in_order():
        raise_if_asked()
        raise ValueError("wrong")


def test_a_stop_is_forgotten_with_the_run_that_it_stopped():
    with pytest.raises(SystemExit), stopping_in_order():
        os.kill(os.getpid(), signal.SIGTERM)
    raise_if_asked()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked there")
@pytest.mark.parametrize("number", MEANING)
def test_a_process_that_inherits_the_handler_ends_as_it_would_without(number):
    with stopping_in_order():
        child = os.fork()
        if not child:
            status = 3
            try:
                os.kill(os.getpid(), number)
            except SystemExit:
                status = 1
            except KeyboardInterrupt:
                # What Python does by itself; MIHA's handler would have noted it.
                status = 2 if signals._asked else 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
    ended_by = -signal.SIGTERM if number == signal.SIGTERM else 0
    assert os.waitstatus_to_exitcode(status) == ended_by
