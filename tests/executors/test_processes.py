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
from miha.executors.processes import ProcessExecutor, cores
from miha.mutations import LearningRateMutation
from miha.results.reader import load_run

CHILD = SUPPORT / "process_child.py"


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
    away(tmp_path / "away", begin(partial(FakeTrainer, fails=partial(killed_once, tmp_path)), 1))
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
    workers = begin(partial(FakeTrainer, fails=kills_if_faster), 1)
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
    assert killing.killed  # One at least; the other may not have been ready.
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


def wait_for(workers):
    """Wait until a process has told what has become of it."""
    while not workers.free:
        workers.results()


def is_a_worker():
    return any(thread.name == "miha-watch" for thread in threading.enumerate())


class Another(FakeTrainer):
    def __init__(self):
        super().__init__(genome=GENOME.replace(batch_size=8 if is_a_worker() else 4))


class Unbuildable(FakeTrainer):
    def __init__(self):
        if is_a_worker():
            raise ModuleNotFoundError("No module named 'mine'")
        super().__init__()


class Doomed(FakeTrainer):
    def __init__(self):
        if is_a_worker():
            os._exit(7)
        super().__init__()


def test_a_process_with_another_network_is_refused(begin):
    with pytest.raises(ArgumentError, match=r"same network.*others, by \['genome'\]"):
        wait_for(begin(Another, 1))


def test_a_network_that_a_process_cannot_build_is_refused_with_the_traceback(begin):
    with pytest.raises(ArgumentError, match="to build the network.*No module named") as refused:
        wait_for(begin(Unbuildable, 1))
    assert 'raise ModuleNotFoundError("No module named' in str(refused.value.__cause__)


def test_processes_that_die_before_they_are_ready_end_the_run(begin):
    with pytest.raises(MihaError, match="3 in a row that did not: it ended with status 7"):
        wait_for(begin(Doomed, 1))


def test_what_cannot_be_sent_is_refused(begin):
    with pytest.raises(ArgumentError, match="can be sent to another process.*leave `workers` out"):
        begin(partial(FakeTrainer, fails=threading.Lock()))


# What a user asks for.


def test_workers_are_processes_where_the_executor_is_local():
    assert choose_executor("local", 2) == ProcessExecutor(2)
    assert choose_executor("local", 1) is None
    assert choose_executor("local") is None
    assert choose_executor("local", "auto") == ProcessExecutor(cores())


def test_more_workers_than_cores_are_worth_a_warning(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    with pytest.warns(MihaWarning, match="workers=3 is more than the 2 cores"):
        choose_executor("local", 3)
    choose_executor("local", 2)


def test_a_system_whose_processes_cannot_hand_over_files_is_refused(monkeypatch):
    monkeypatch.setattr(processes.os, "name", "nt")
    assert choose_executor("local", "auto") is None
    with pytest.raises(ArgumentError, match="`workers` needs a system.*on Windows"):
        choose_executor("local", 2)


# Scripts.

OWN = """
class Own(FakeTrainer):
    pass
"""

TRAINS = """
from executor_contract import SCHEDULE
from fakes import FakeTrainer, make_job, make_loop, run
from miha.executors.processes import ProcessExecutor
{own}
def main():
    executor = ProcessExecutor(1)
    executor.check()
    workers = executor.start(make_job({trainer}))
    try:
        run(make_loop(Path(sys.argv[1]), workers=workers, **SCHEDULE | {{"c": 1}}))
    finally:
        workers.close()
{call}
"""


def in_a_script(tmp_path, own, guard):
    """Run a script whose clones train in processes; return its exit status and errors."""
    script = tmp_path / "script.py"
    call = 'if __name__ == "__main__":\n    main()' if guard else "main()"
    text = TRAINS.format(own=OWN * own, trainer="Own" if own else "FakeTrainer", call=call)
    script.write_text(f"import sys\nfrom pathlib import Path\n{text}")
    path = os.pathsep.join([str(SUPPORT), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, script, tmp_path / "run"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(("own", "guard"), [(False, False), (True, True)])
def test_a_script_needs_a_guard_only_for_classes_of_its_own(tmp_path, own, guard):
    assert in_a_script(tmp_path, own, guard) == (0, "")
    run(here(tmp_path / "here", c=1))
    assert story(tmp_path / "run") == story(tmp_path / "here")


def test_a_script_with_classes_of_its_own_and_no_guard_is_refused(tmp_path):
    status, errors = in_a_script(tmp_path, own=True, guard=False)
    assert status == 1
    assert 'must do so below `if __name__ == "__main__":`' in errors.splitlines()[-1]


# Being stopped.


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Return how processes end whose clones sleep, by the signal that the main one is sent."""
    path = os.pathsep.join([str(SUPPORT), *filter(None, sys.path)])
    running = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        running[number] = subprocess.Popen(
            [sys.executable, CHILD, tmp_path_factory.mktemp("run") / "run"],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    found = {}
    for number, process in running.items():
        workers = [int(word) for word in process.stdout.readline().split()]
        assert process.stdout.readline() == "sleeping\n"
        process.send_signal(number)
        errors = process.communicate(timeout=60)[1]
        found[number] = SimpleNamespace(workers=workers, errors=errors, status=process.returncode)
    return found


def is_running(process):
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


@pytest.mark.parametrize(
    ("number", "status", "seconds"),
    [
        (signal.SIGINT, -signal.SIGINT, 0),
        (signal.SIGTERM, 128 + signal.SIGTERM, 0),
        (signal.SIGKILL, -signal.SIGKILL, 10),
    ],
)
def test_no_process_outlives_the_one_that_started_it(stopped, number, status, seconds):
    found = stopped[number]
    assert found.status == status and len(found.workers) == 1
    assert until(lambda: not any(map(is_running, found.workers)), seconds or 0.001)
    if number != signal.SIGKILL:
        assert "Run the same script again with these `logs` to go on." in found.errors
