"""The lock on a run's folder."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import threading

import pytest

from miha.errors import MihaWarning, RunExistsError, RunLockedError, StorageError
from miha.storage.lock import is_locked, locked, taking_turns

# Newer Pythons warn of forks beside threads; these children do nothing.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def test_a_folder_is_locked_once(tmp_path):
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(RunLockedError, match="Only one process"), locked(tmp_path):
            pass
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        pass


def test_the_holder_is_named(tmp_path):
    with locked(tmp_path), pytest.raises(RunLockedError) as caught, locked(tmp_path):
        pass
    assert f"process {os.getpid()} on {socket.gethostname()} is at work" in str(caught.value)
    assert isinstance(caught.value, RunExistsError)


def test_the_lock_is_given_back_when_an_error_is_raised(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    assert not is_locked(tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_child_that_was_forked_during_a_turn_does_not_hold_it_on(tmp_path):
    read, write = os.pipe()
    with taking_turns(tmp_path / ".lock"):
        pid = os.fork()
        if pid == 0:
            os.write(write, b"forked")
            signal.pause()
    assert os.read(read, 6) == b"forked"
    try:
        assert not is_locked(tmp_path)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_dead_process_holds_no_lock(tmp_path):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with locked(tmp_path):
            os.write(write, b"locked")
            signal.pause()
    assert os.read(read, 6) == b"locked"
    assert is_locked(tmp_path)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_child_that_lives_on_does_not_hold_the_lock(tmp_path):
    (told, tell), (told_back, tell_back) = os.pipe(), os.pipe()
    with locked(tmp_path):
        pid = os.fork()
        if pid == 0:
            os.read(told, 1)
            os.write(tell_back, b"1")
            signal.pause()
    try:
        os.write(tell, b"1")
        os.read(told_back, 1)
        assert not is_locked(tmp_path)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_folder_that_is_not_there_cannot_be_locked(tmp_path):
    assert not is_locked(tmp_path / "gone")
    with pytest.raises(StorageError, match="gone"), locked(tmp_path / "gone"):
        pass
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EIO])
def test_a_disk_without_locks_is_told_and_used(tmp_path, monkeypatch, number):
    def unsupported(descriptor, operation):
        raise OSError(number, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with pytest.warns(MihaWarning, match="knows no locks"), locked(tmp_path):
        (tmp_path / "journal").write_text("entry")
    with pytest.warns(MihaWarning, match="knows no locks"):
        assert not is_locked(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "journal"}


def test_readers_do_not_keep_a_run_from_beginning(tmp_path):
    (tmp_path / ".lock").touch()
    stop, polls, taken = threading.Event(), [], 0

    def poll():
        while not stop.is_set():
            polls.append(is_locked(tmp_path))

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        while (taken < 50 or len(polls) < 50) and reader.is_alive():
            with locked(tmp_path):
                taken += 1
                os.stat(tmp_path)  # Lets the reader's thread in, now and then.
    finally:
        stop.set()
        reader.join()
    assert taken >= 50 and len(polls) >= 50
    assert not is_locked(tmp_path)


def test_a_lock_given_back_names_nobody(tmp_path):
    with locked(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == ""


def test_readers_do_not_take_each_other_for_a_run(tmp_path):
    (tmp_path / ".lock").touch()
    first = os.open(tmp_path / ".lock", os.O_RDONLY)
    fcntl.flock(first, fcntl.LOCK_SH | fcntl.LOCK_NB)
    try:
        assert not is_locked(tmp_path)
    finally:
        os.close(first)


def test_a_thread_is_refused(tmp_path):
    errors = []

    def second():
        try:
            with locked(tmp_path):
                pass
        except RunLockedError as error:
            errors.append(error)

    with locked(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(errors) == 1


def test_threads_take_turns(tmp_path):
    inside, most = [], []

    def turn():
        for _ in range(20):
            with taking_turns(tmp_path / "turns"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=turn) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 60
