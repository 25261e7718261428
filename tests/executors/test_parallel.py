"""Clones on workers: the contract, who is handed out first, and what becomes of lost ones."""

from __future__ import annotations

import itertools

import pytest
from executor_contract import ExecutorContract, away, here, story
from fakes import GENOME, FakeTrainer, FakeWorkers, make_job, run
from miha.executors.crew import Crew
from miha.executors.durations import expected_seconds

from miha.errors import ArgumentError, MihaError, MihaWarning
from miha.executors.factory import choose_executor
from miha.executors.protocol import Lost
from miha.executors.worker import Worker, differences, signature
from miha.mutations import BatchSizeMutation
from miha.records import UNCHANGED, Task
from miha.results.reader import load_run


def scrambled(task):
    """Return times by which clones come in another order than they were begun."""
    return (3 + 7 * task.clone) % 5 + 1.0


class TestWorkers(ExecutorContract):
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


def entry(batch_size, *seconds, optimizer="sgd"):
    genome = {"batch_size": batch_size, "optimizer": optimizer}
    return {"genome": genome, "epochs": [{"seconds": s} for s in seconds]}


def test_the_longest_clone_is_expected_by_its_steps_where_nothing_is_measured():
    expected = expected_seconds([])
    assert expected(clone_of(4)) > expected(clone_of(8)) > expected(clone_of(8, epochs=1))


def test_a_clone_is_expected_to_take_what_its_kind_took_without_the_compilation():
    expected = expected_seconds([entry(8, 9.0, 2.0, 2.5), entry(8, 1.0, optimizer="adam")])
    assert expected(clone_of(8)) == 4.0
    assert expected(clone_of(8, optimizer="adam")) == 2.0
    assert expected(clone_of(4)) == 8.0


def test_an_untrained_network_tells_nothing_of_time():
    assert expected_seconds([entry(8)])(clone_of(2)) > 0


def steps(task):
    return 16 / task.genome.batch_size * task.epochs


def test_the_longest_clone_begins_first_and_workers_wait_less(tmp_path, monkeypatch):
    # Epochs of microseconds are measured by nobody twice alike.
    monkeypatch.setattr("miha.executors.distributed.expected_seconds", lambda trainings: steps)
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
        return Lost("killed.") if times == 1 and task.clone % 2 else None

    workers = FakeWorkers(2, loses=loses)
    run(here(tmp_path / "here"))
    run(away(tmp_path / "away", lambda _: workers))
    assert story(tmp_path / "away") == story(tmp_path / "here")
    assert len(workers.begun) == 2 * (6 + 3)


def test_a_clone_that_loses_two_workers_has_failed(tmp_path):
    workers = FakeWorkers(2, loses=lambda task, times: Lost("killed.") if task.clone == 3 else None)
    with pytest.warns(MihaWarning, match="has taken 2 workers with it: killed."):
        run(away(tmp_path, lambda _: workers, c=1))
    lineage = load_run(tmp_path).lineage
    assert lineage["failure"].notna().tolist() == [i == 3 for i in range(6)]
    assert [task.clone for task in workers.begun].count(3) == 2


def test_machines_that_are_lost_are_no_fault_of_a_clone(tmp_path):
    def loses(task, times):
        return Lost("the machine is gone.", by_clone=False) if times < 4 else None

    run(here(tmp_path / "here", c=1))
    run(away(tmp_path / "away", lambda _: FakeWorkers(2, loses=loses), c=1))
    assert story(tmp_path / "away") == story(tmp_path / "here")


def test_an_error_of_the_runs_own_in_a_worker_ends_the_run(tmp_path):
    workers = FakeWorkers(1, make_job(Refusing))
    with pytest.raises(MihaError, match="ArgumentError: the data is gone"):
        run(away(tmp_path, lambda _: workers, c=1))


class Refusing(FakeTrainer):
    def __init__(self):
        super().__init__(fails=lambda genome: ArgumentError("the data is gone"))


def test_a_worker_tells_its_network_from_others():
    found, device = Worker(make_job()).describe()
    assert device == FakeTrainer.device
    assert differences(found, signature(FakeTrainer())) == []
    other = signature(FakeTrainer(genome=GENOME.replace(batch_size=8)))
    assert differences(found, other) == ["genome"]


@pytest.mark.parametrize("executor", ["cluster", None, 4, FakeWorkers])
def test_an_executor_is_a_name_or_an_executor(executor):
    with pytest.raises(ArgumentError, match="`executor` must be 'local', 'ray' or an executor"):
        choose_executor(executor)


class Counted:
    load_data = None

    def __init__(self):
        self.calls = []

    def check(self):
        self.calls.append("check")

    def start(self, job):
        self.calls.append(job)
        return self

    def close(self):
        self.calls.append("close")


def test_an_executor_of_ones_own_is_checked_at_once():
    executor = Counted()
    assert choose_executor(executor) is executor and executor.calls == ["check"]
    assert choose_executor("local") is None


def test_workers_are_started_once_and_ended_however_the_run_ends():
    executor, jobs = Counted(), itertools.count()
    with pytest.raises(KeyboardInterrupt), Crew(executor, lambda: next(jobs)) as crew:
        assert crew.begin() is crew.begin() is executor
        raise KeyboardInterrupt
    assert executor.calls == [0, "close"]
    with Crew(executor, lambda: next(jobs)):
        pass
    assert executor.calls == [0, "close"]
