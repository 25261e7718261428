"""Workers on trial: started where there is enough to train, kept where they are faster."""

from __future__ import annotations

from functools import partial
from math import inf

import pytest
from executor_contract import SCHEDULE, here, story
from fakes import FakeTrainer, FakeWorkers, make_job, make_loop, run

from miha.errors import ArgumentError
from miha.executors import trial
from miha.executors.factory import make_population_executor
from miha.executors.parallel import Workers
from miha.executors.sequential import SequentialExecutor
from miha.executors.training import Training


class Pool(FakeWorkers):
    """Workers that may turn out to be of no use after some results."""

    def __init__(self, results=inf):
        super().__init__(2)
        self.left, self.has_ended = results, False

    def results(self):
        self.left -= 1
        if self.left < 0:
            raise ArgumentError("A worker must build the same network.")
        return super().results()

    def close(self):
        self.has_ended = True


class Starting:
    """An executor that starts a pool, or refuses."""

    def __init__(self, pool=None):
        self.pool = pool

    def start(self, job):
        if self.pool is None:
            raise ArgumentError("The network cannot be sent.")
        return self.pool


def tried(path, pool, seconds=100.0, **changes):
    """Run a run with workers on trial, whose clones are expected to take so many seconds."""
    changes = {**SCHEDULE, "c": 4, **changes}
    loop = make_loop(path, on_trial=Workers(Starting(pool), make_job), **changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "expected_seconds", lambda records: lambda task: seconds)
        run(loop)
    return (path / "run.log").read_text()


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch):
    monkeypatch.setattr(FakeTrainer, "device", "a test on CPU")


def cycles(pool):
    return sorted({task.cycle for task in pool.begun})


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "run"
    run(here(path, c=4))
    return story(path)


def test_workers_that_are_faster_train_from_the_next_population_on(tmp_path, alone):
    log = tried(tmp_path, pool := Pool())
    assert cycles(pool) == [2, 3, 4] and not pool.has_ended
    assert log.count("Clones train on workers, which are") == 1
    assert story(tmp_path) == alone


def test_workers_that_are_no_faster_are_ended_after_two_populations(tmp_path, alone, monkeypatch):
    monkeypatch.setattr(trial, "WORTH", inf)
    log = tried(tmp_path, pool := Pool())
    assert cycles(pool) == [2, 3] and pool.has_ended
    assert "Clones train in this process: workers were" in log
    assert story(tmp_path) == alone


def test_for_little_to_train_no_workers_are_started(tmp_path, alone):
    # Of 6 clones in 3 further cycles, a minute in all is not quite reached.
    log = tried(tmp_path, pool := Pool(), seconds=3.3)
    assert pool.begun == [] and "orkers" not in log
    assert story(tmp_path) == alone


def test_without_a_measured_epoch_nothing_is_tried_yet(tmp_path):
    tried(tmp_path, pool := Pool(), m=0)
    assert cycles(pool) == [3, 4]


def test_workers_that_cannot_be_started_are_done_without(tmp_path, alone):
    log = tried(tmp_path, None)
    assert log.count("Workers cannot be started: The network cannot be sent.") == 1
    assert story(tmp_path) == alone


@pytest.mark.parametrize("results", [0, 3])
def test_workers_that_turn_out_to_be_of_no_use_leave_their_clones_to_this_process(
    tmp_path, alone, results
):
    log = tried(tmp_path, pool := Pool(results))
    assert cycles(pool) == [2] and pool.has_ended
    assert "Workers cannot train this network: A worker must build the same" in log
    assert story(tmp_path) == alone


def test_on_other_devices_than_a_cpu_nothing_is_tried(monkeypatch):
    training = Training(None, FakeTrainer(), ())
    make = partial(make_population_executor, training, 1, on_trial=Workers(None, make_job))
    assert isinstance(make(), trial.TrialExecutor)
    for device in ("JAX 0.7 on NVIDIA H200", "JAX 0.7 on CPU, batches shared out to 2 devices"):
        monkeypatch.setattr(FakeTrainer, "device", device)
        assert isinstance(make(), SequentialExecutor)
