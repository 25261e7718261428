"""Clones on workers: the contract, who is handed out first, and what becomes of lost ones."""

from __future__ import annotations

import itertools

import pytest
from executor_contract import ExecutorContract, away, here, story
from fakes import GENOME, FakeTrainer, FakeWorkers, make_job, make_record, run

from miha.errors import ArgumentError, MihaError, MihaWarning
from miha.executors.parallel import Workers, expected_seconds
from miha.executors.protocol import CloneResult, WorkerLost
from miha.mutations import BatchSizeMutation
from miha.records import UNCHANGED, Epoch, Task
from miha.results.reader import load_run


def scrambled(task):
    """Return times by which clones come in another order than they were submitted."""
    return (3 + 7 * task.clone) % 5 + 1.0


class TestParallel(ExecutorContract):
    @pytest.fixture(params=[None, 1, 2, 8], ids=["local", "one", "two", "eight"])
    def begin(self, request):
        def make(make_trainer):
            if request.param is None:
                return None
            return FakeWorkers(request.param, make_job(make_trainer), scrambled)

        return make


def clone_of(batch_size, epochs=2, optimizer="sgd"):
    genome = GENOME.replace(batch_size=batch_size, optimizer=optimizer)
    return Task("clone", 1, 0, epochs, genome, UNCHANGED, "population/1_0_model.zip")


def trained(batch_size, *seconds, optimizer="sgd"):
    genome = GENOME.replace(batch_size=batch_size, optimizer=optimizer)
    epochs = tuple(Epoch({"val_loss": 1.0}, s) for s in seconds)
    return make_record(genome=genome, epochs=epochs)


def test_the_longest_clone_is_expected_by_its_steps_where_nothing_is_measured():
    expected = expected_seconds([])
    assert expected(clone_of(4)) > expected(clone_of(8)) > expected(clone_of(8, epochs=1))


def test_a_clone_is_expected_to_take_what_its_kind_took_without_the_compilation():
    expected = expected_seconds([trained(8, 9.0, 2.0, 2.5), trained(8, 1.0, optimizer="adam")])
    assert expected(clone_of(8)) == 4.0
    assert expected(clone_of(8, optimizer="adam")) == 2.0
    assert expected(clone_of(4)) == 8.0


def test_an_untrained_network_tells_nothing_of_time():
    assert expected_seconds([trained(8)])(clone_of(2)) > 0


def steps(task):
    return 16 / task.genome.batch_size * task.epochs


def test_the_longest_clone_begins_first_and_workers_wait_less(tmp_path, monkeypatch):
    # Epochs of microseconds are measured by nobody twice alike.
    monkeypatch.setattr("miha.executors.parallel.expected_seconds", lambda records: steps)
    workers = FakeWorkers(3, seconds=steps)
    run(away(tmp_path, lambda _: workers, c=6, mutations=[BatchSizeMutation()]))
    in_order = 0.0
    for cycle in range(1, 7):
        tasks = [task for task in workers.begun if task.cycle == cycle]
        assert [*map(steps, tasks)] == sorted(map(steps, tasks), reverse=True)
        by_number = sorted(tasks, key=lambda task: task.clone)
        in_order += idle_in_order([*map(steps, by_number)], 3)
    assert 0 < workers.idle < 0.8 * in_order


def idle_in_order(durations, number):
    """Return the idle seconds of workers that take clones by their number."""
    ends = [0.0] * number
    for duration in durations:
        ends[ends.index(min(ends))] += duration
    return sum(max(ends) - end for end in ends)


def test_the_values_of_the_parent_are_sent_once_a_cycle(tmp_path):
    workers = FakeWorkers(2)
    run(away(tmp_path, lambda _: workers, c=3))
    assert workers.shared == 3


def test_a_clone_that_loses_its_worker_once_is_trained_again(tmp_path):
    def loses(task, times):
        return WorkerLost("killed.") if times == 1 and task.clone % 2 else None

    workers = FakeWorkers(2, loses=loses)
    run(here(tmp_path / "here"))
    run(away(tmp_path / "away", lambda _: workers))
    assert story(tmp_path / "away") == story(tmp_path / "here")
    assert len(workers.begun) == 2 * (6 + 3)
    assert "has lost its worker, it is trained again: killed." in log_of(tmp_path / "away")


def log_of(path):
    return (path / "run.log").read_text()


def test_a_clone_that_loses_two_workers_has_failed(tmp_path):
    workers = FakeWorkers(
        2, loses=lambda task, times: WorkerLost("killed.") if task.clone == 3 else None
    )
    with pytest.warns(MihaWarning, match="has taken 2 workers with it: killed."):
        run(away(tmp_path, lambda _: workers, c=1))
    lineage = load_run(tmp_path).lineage
    assert lineage["failure"].notna().tolist() == [i == 3 for i in range(6)]
    assert [task.clone for task in workers.begun].count(3) == 2
    assert "has lost its worker, it has failed: killed." in log_of(tmp_path)


def test_machines_that_are_lost_are_no_fault_of_a_clone(tmp_path):
    def loses(task, times):
        lost = WorkerLost("the machine is gone.", may_be_clones_fault=False)
        return lost if times < 4 else None

    run(here(tmp_path / "here", c=1))
    run(away(tmp_path / "away", lambda _: FakeWorkers(2, loses=loses), c=1))
    assert story(tmp_path / "away") == story(tmp_path / "here")


def test_a_clone_of_which_no_values_come_back_has_failed(tmp_path):
    nothing = CloneResult((), None)
    workers = FakeWorkers(1, loses=lambda task, times: nothing if task.clone == 3 else None)
    with pytest.warns(MihaWarning, match="no values came back"):
        run(away(tmp_path, lambda _: workers, c=1))
    assert load_run(tmp_path).lineage["failure"].dropna().to_dict() == {3: "no values came back"}


def test_an_error_of_the_runs_own_in_a_worker_ends_the_run(tmp_path):
    workers = FakeWorkers(1, make_job(Refusing))
    with pytest.raises(MihaError, match="ArgumentError: the data is gone"):
        run(away(tmp_path, lambda _: workers, c=1))


class Refusing(FakeTrainer):
    def __init__(self):
        super().__init__(fails=lambda genome: ArgumentError("the data is gone"))


class Counted:
    """An executor that notes what it is asked to do."""

    def __init__(self):
        self.calls = []

    def start(self, job):
        self.calls.append(job)
        return self

    def close(self):
        self.calls.append("close")


def test_workers_are_started_once_and_ended_however_the_run_ends():
    executor, jobs = Counted(), itertools.count()
    with pytest.raises(KeyboardInterrupt), Workers(executor, lambda: next(jobs)) as workers:
        assert workers.start() is workers.start() is executor
        raise KeyboardInterrupt
    assert executor.calls == [0, "close"]
    with Workers(executor, lambda: next(jobs)):
        pass
    assert executor.calls == [0, "close"]


def test_without_an_executor_there_are_no_workers():
    with Workers(None, make_job) as workers:
        assert workers.start() is None
