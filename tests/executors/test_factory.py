"""Which executor a user's choice stands for, and what trains the populations with it."""

from __future__ import annotations

import pytest
from fakes import FakePopulationTrainer, FakeTrainer, FakeWorkers, make_plan

from miha.errors import ArgumentError
from miha.executors.factory import choose_executor, make_population_executor
from miha.executors.fused import FusedExecutor
from miha.executors.parallel import ParallelExecutor
from miha.executors.sequential import SequentialExecutor
from miha.executors.training import Training


def training_with(trainer):
    return Training(make_plan(), trainer, ())


class Own:
    """An executor of a user's."""

    load_data = None

    def __init__(self, error=None):
        self.calls, self._error = [], error

    def check(self):
        self.calls.append("check")
        if self._error:
            raise self._error

    def start(self, job):
        self.calls.append("start")


@pytest.mark.parametrize("executor", ["cluster", None, 4, FakeWorkers, Own])
def test_an_executor_is_a_name_or_an_executor(executor):
    with pytest.raises(ArgumentError, match="`executor` must be 'local', 'ray' or an executor"):
        choose_executor(executor)


def test_an_executor_of_a_users_is_checked_at_once_and_not_started():
    executor = Own()
    assert choose_executor(executor) is executor
    assert executor.calls == ["check"]


def test_what_the_check_of_an_executor_raises_is_the_users_to_see():
    with pytest.raises(ArgumentError, match="no such cluster"):
        choose_executor(Own(ArgumentError("no such cluster")))


def test_local_is_this_process():
    assert choose_executor("local") is None


def test_clones_train_one_after_another_unless_several_are_wanted():
    training = training_with(FakePopulationTrainer())
    assert make_population_executor(training, 1) == SequentialExecutor(training)


def test_clones_train_together_where_the_trainer_can():
    training = training_with(FakePopulationTrainer())
    assert make_population_executor(training, 3) == FusedExecutor(training, training.trainer, 3)


def test_a_backend_that_cannot_train_clones_together_goes_on_with_one_after_another():
    training = training_with(FakeTrainer())
    assert make_population_executor(training, 3) == SequentialExecutor(training)


def test_workers_train_clones_whatever_this_process_could():
    training, workers, records = training_with(FakePopulationTrainer()), FakeWorkers(), []
    executor = make_population_executor(training, 3, workers, records)
    assert executor == ParallelExecutor(training, workers, records)
    assert executor.records is records  # It grows with the run.
