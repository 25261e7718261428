"""The background writer: jobs in order, a bounded queue, and errors that surface."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from functools import partial

import pytest
from fakes import until

from miha.storage.writer import Writer


def fail() -> None:
    raise OSError("disk full")


def nothing() -> None:
    pass


def has_failed(writer: Writer) -> bool:
    try:
        writer.submit(nothing)
    except OSError:
        return True
    return False


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "miha-writer"]


def test_jobs_are_done_in_the_order_they_were_given():
    done = []
    with Writer() as writer:
        for number in range(50):
            writer.submit(lambda number=number: done.append(number))
    assert done == list(range(50))


def test_jobs_are_done_in_one_thread_of_their_own():
    threads = set()
    with Writer() as writer:
        for _ in range(5):
            writer.submit(lambda: threads.add(threading.current_thread()))
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_the_writer_is_gone_when_it_has_ended():
    with Writer() as writer:
        writer.submit(nothing)
        assert writers()
    assert not writers()


def test_the_writer_is_gone_after_an_error():
    with pytest.raises(KeyError), Writer():
        raise KeyError
    assert not writers()


def test_submit_does_not_wait_for_the_job():
    gate, done = threading.Event(), []
    with Writer() as writer:
        writer.submit(lambda: gate.wait(5) and done.append(1))
        assert done == []
        gate.set()
    assert done == [1]


def test_no_more_jobs_wait_than_allowed():
    gate, begun = threading.Event(), threading.Event()
    with Writer(ahead=2) as writer:
        writer.submit(lambda: begun.set() or gate.wait(5))
        assert begun.wait(5)
        for _ in range(2):
            writer.submit(nothing)
        third = threading.Thread(target=writer.submit, args=(nothing,))
        third.start()
        third.join(0.05)
        assert third.is_alive()
        gate.set()
        third.join(5)
        assert not third.is_alive()


def test_an_error_surfaces_at_a_later_submit():
    with pytest.raises(OSError, match="disk full"), Writer() as writer:
        writer.submit(fail)
        until(lambda: writer.submit(nothing), 5)
        pytest.fail("nothing surfaced")


def test_an_error_of_the_last_job_surfaces_at_the_end():
    with pytest.raises(OSError, match="disk full"), Writer() as writer:
        writer.submit(nothing)
        writer.submit(fail)


def test_what_was_waiting_behind_a_failed_job_is_dropped():
    gate, done = threading.Event(), []
    with pytest.raises(OSError, match="disk full"), Writer() as writer:
        writer.submit(lambda: gate.wait(5) and fail())
        writer.submit(lambda: done.append("journal"))
        gate.set()
    assert done == []


def test_nothing_is_done_after_an_error_has_surfaced():
    done = []
    with contextlib.suppress(OSError), Writer() as writer:
        writer.submit(fail)
        assert until(lambda: has_failed(writer))
        with contextlib.suppress(OSError):
            writer.submit(lambda: done.append("journal"))
    assert done == []


def test_an_error_outside_lets_the_waiting_jobs_be_done():
    gate, done = threading.Event(), []
    with pytest.raises(KeyboardInterrupt), Writer() as writer:
        writer.submit(lambda: gate.wait(5))
        writer.submit(lambda: done.append("journal"))
        gate.set()
        raise KeyboardInterrupt
    assert done == ["journal"]


def test_an_error_outside_is_not_replaced_by_one_of_a_job():
    with pytest.raises(KeyError, match="outside"), Writer() as writer:
        writer.submit(fail)
        raise KeyError("outside")


def test_the_error_of_a_job_is_raised_as_it_was():
    error = PermissionError("read only")

    def job():
        raise error

    with pytest.raises(PermissionError) as caught, Writer() as writer:
        writer.submit(job)
    assert caught.value is error


def test_nothing_is_written_any_more_after_a_second_interrupt():
    done = []

    def slow(name):
        time.sleep(0.2)
        done.append(name)

    def interrupt():
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), Writer() as writer:
            for name in "abc":
                writer.submit(partial(slow, name))
            threading.Thread(target=interrupt).start()
            raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["a"]  # The job at hand; those that waited are dropped.
    assert not writer._thread.is_alive()
