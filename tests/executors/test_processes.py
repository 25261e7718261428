"""Clones in processes of this machine: the contract, and processes that are really killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
from executor_contract import SCHEDULE, ExecutorContract, here, is_faster, story, values
from fakes import GENOME, FakeTrainer, make_job, make_loop, run, until
from paths import SUPPORT

from miha.callbacks import Callback
from miha.errors import ArgumentError, MihaError, MihaWarning
from miha.executors import processes
from miha.executors.factory import choose_executor
from miha.executors.processes import ProcessExecutor
from miha.mutations import LearningRateMutation
from miha.results.reader import load_run

MAIN = os.getpid()


@pytest.fixture
def begin():
    """Return what starts processes; they end with the test."""
    with contextlib.ExitStack() as stack:

        def make(make_trainer=FakeTrainer, workers=2):
            begun = ProcessExecutor(workers).start(make_job(make_trainer))
            stack.callback(begun.close)
            return begun

        yield make


class TestProcesses(ExecutorContract):
    @pytest.fixture
    def begin(self, begin):
        return begin


def away(path, workers, **changes):
    """Run a small run on workers."""
    run(make_loop(path, workers=workers, **{**SCHEDULE, "c": 1, **changes}))


def log_of(path):
    return (path / "run.log").read_text()


def killed_once(folder, genome):
    """Kill the first process that trains a clone, whatever the genome."""
    with contextlib.suppress(FileExistsError):
        (folder / "done").touch(exist_ok=False)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_changes_nothing(tmp_path, begin):
    run(here(tmp_path / "here", c=1))
    away(tmp_path / "away", begin(partial(FakeTrainer, fails=partial(killed_once, tmp_path))))
    assert (tmp_path / "done").exists()
    assert story(tmp_path / "away") == story(tmp_path / "here")
    assert values(tmp_path / "away") == values(tmp_path / "here")
    assert "has lost its worker, it is trained again: it ended with status -9" in log_of(
        tmp_path / "away"
    )


def kills_if_faster(genome):
    if is_faster(genome):
        sys.stderr.write("out of luck\n")
        sys.stderr.flush()
        os._exit(3)


def test_a_clone_that_ends_its_process_twice_has_failed_and_its_last_words_are_kept(
    tmp_path, begin
):
    workers = begin(partial(FakeTrainer, fails=kills_if_faster))
    with pytest.warns(MihaWarning, match="has taken 2 workers with it: it ended with status 3"):
        away(tmp_path, workers, mutations=[LearningRateMutation()])
    failures = load_run(tmp_path).lineage["failure"].dropna()
    assert 0 < len(failures) < 6
    assert all("out of luck" in failure for failure in failures)


class Killing(Callback):
    """Kills every free process while the winner of the first cycle trains."""

    def __init__(self, workers):
        self._workers, self.killed = workers, []

    def on_training_begin(self, task):
        if task.phase == "winner" and not self.killed:
            self.killed = [process.pid for process in self._workers._free]
            for process in self._workers._free:
                os.kill(process.pid, signal.SIGKILL)
                assert until(lambda process=process: not process.is_alive)


def test_processes_that_are_killed_while_they_wait_are_no_fault_of_a_clone(tmp_path, begin):
    run(here(tmp_path / "here"))
    workers = begin()
    killing = Killing(workers)
    away(tmp_path / "away", workers, c=2, callbacks=[killing])
    assert len(killing.killed) == 2
    assert story(tmp_path / "away") == story(tmp_path / "here")
    assert "while it had nothing to do" in log_of(tmp_path / "away")
    assert "has lost its worker" not in log_of(tmp_path / "away")


def leaves_a_child(folder, genome):
    """Die once, leaving a process behind that holds all that was open."""
    with contextlib.suppress(FileExistsError):
        (folder / "done").touch(exist_ok=False)
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        os._exit(1)


def test_a_process_whose_children_live_on_is_known_to_be_dead(tmp_path, begin, monkeypatch):
    monkeypatch.setattr(processes, "LONGEST_WAIT", 0.2)
    began = time.monotonic()
    away(tmp_path, begin(partial(FakeTrainer, fails=partial(leaves_a_child, tmp_path)), 1))
    assert time.monotonic() - began < 15
    assert "it is trained again" in log_of(tmp_path)


def test_starting_waits_for_nobody(begin):
    workers = begin()
    assert workers.free == 0 and len(workers._starting) == 2
    while not workers.free:
        assert workers.results() == []


def test_there_are_no_more_processes_than_clones(begin):
    assert len(begin(workers=50)._starting) == 6


def ready(workers):
    """Wait until a process has told what has become of it."""
    while not workers.free:
        workers.results()


class Another(FakeTrainer):
    def __init__(self):
        super().__init__(genome=GENOME.replace(batch_size=8 if os.getpid() != MAIN else 4))


class Unbuildable(FakeTrainer):
    def __init__(self):
        if "miha.executors.processes" in sys.modules and "pytest" not in sys.modules["__main__"].__dict__:
            pass
        super().__init__()


def test_what_cannot_be_sent_is_refused(begin):
    with pytest.raises(ArgumentError, match="can be sent to another process.*leave `workers` out"):
        begin(partial(FakeTrainer, fails=threading.Lock()))
