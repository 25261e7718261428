"""What a process does that trains clones for a run."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from fakes import GENOME, SPACE, FakeTrainer, make_job

from miha.errors import ArgumentError, TrainerError
from miha.executors.training import train_on
from miha.executors.worker import Worker, differences, environment, signature
from miha.records import UNCHANGED, Change, Task

CHANGED = GENOME.replace(optimizer="adam", learning_rate=0.01)
CHANGE = Change("optimizer", "sgd -> adam at 0.01")


def clone(genome=CHANGED, change=CHANGE, epochs=2):
    archive = "population/1_1_model.zip"
    return Task("clone", 1, 1, epochs, genome, change, archive)


def shared():
    return GENOME, FakeTrainer().snapshot()


def test_a_worker_trains_a_clone_as_the_run_itself_would():
    trainer = FakeTrainer()
    epochs = train_on(trainer, clone(), 0, lambda epoch: None)
    result = Worker(make_job()).train(clone(), shared())
    assert [epoch.logs for epoch in result.epochs] == [epoch.logs for epoch in epochs]
    assert repr(result.snapshot) == repr(trainer.snapshot())
    assert result.failure is None


def test_what_a_worker_trained_before_changes_no_clone():
    worker = Worker(make_job())
    first = worker.train(clone(), shared())
    worker.train(clone(GENOME.replace(batch_size=8), Change("batch_size", "4 -> 8")), shared())
    again = worker.train(clone(), shared())
    assert repr(again.snapshot) == repr(first.snapshot)


def test_values_that_processes_share_are_not_written_to():
    genome, values = shared()
    for array in (*values.variables, *values.slots):
        array.flags.writeable = False
    before = repr(values)
    Worker(make_job()).train(clone(), (genome, values))
    assert repr(values) == before


def job_that_fails(error):
    trainer = FakeTrainer(fails=lambda genome: error)
    job = make_job()
    return type(job)(lambda: trainer, 0, None, 6, {}, job.signature, job.device)


@pytest.mark.parametrize(
    ("error", "ends_run"),
    [
        (ValueError("too fast"), False),
        (TrainerError("no genome"), False),
        (ArgumentError("the data is gone"), True),
    ],
)
def test_an_error_comes_back_with_its_traceback(error, ends_run):
    result = Worker(job_that_fails(error)).train(clone(), shared())
    assert result.snapshot is None and len(result.epochs) == 2
    assert result.failure.text == f"{type(error).__name__}: {error}."
    assert result.failure.traceback.startswith("Traceback (most recent call last)")
    assert result.failure.ends_run == ends_run


class Compiled(FakeTrainer):
    """A trainer that can compile by XLA."""

    steps_per_epoch = 1
    scope = None

    def compile_xla(self):
        """Nothing is compiled here."""

    def use_xla(self, scope):
        self.scope = scope


@pytest.mark.parametrize("scope", ["network", "all", None])
def test_a_worker_compiles_as_the_run_does(scope):
    trainer = Compiled()
    job = replace(make_job(), make_trainer=lambda: trainer, xla=scope)
    Worker(job)
    assert trainer.scope == scope


def test_a_worker_whose_backend_cannot_compile_so_trains_as_it_can():
    assert Worker(replace(make_job(), xla="all")).ping()


def test_a_worker_tells_its_network_from_others():
    found, device = Worker(make_job()).describe()
    assert device == FakeTrainer.device
    assert differences(found, signature(FakeTrainer())) == []
    other = signature(FakeTrainer(genome=GENOME.replace(batch_size=8)))
    assert differences(found, other) == ["genome"]


def test_a_worker_answers_with_the_id_of_its_process():
    assert Worker(make_job()).ping() == os.getpid()


def test_a_signature_has_what_a_network_is_and_not_what_it_weighs():
    trainer = FakeTrainer()
    before = signature(trainer)
    trainer.train(1, np.random.default_rng(0), None, lambda epoch: None)
    assert signature(trainer) == before
    trainer.fingerprint = {**FakeTrainer.fingerprint, "code": "of another version of Python"}
    assert signature(trainer) == before
    assert differences(signature(FakeTrainer(space=SPACE)), before) == []


def test_a_control_inherits_what_its_parent_has():
    result = Worker(make_job()).train(clone(GENOME, UNCHANGED), shared())
    assert result.snapshot.optimizer == GENOME.optimizer


def test_the_threads_of_a_worker_are_those_of_its_cores():
    variables = environment(3.5, 0)
    assert {variables[f"TF_NUM_{kind}OP_THREADS"] for kind in ("INTRA", "INTER")} == {"3"}
    assert variables["OMP_NUM_THREADS"] == "3" and "XLA_FLAGS" not in variables
    assert environment(0.25, 0)["OMP_NUM_THREADS"] == "1"
    assert "false" in environment(1, 0)["XLA_FLAGS"]


def test_only_a_worker_with_a_gpu_sees_one():
    assert environment(1, 0)["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "CUDA_VISIBLE_DEVICES" not in environment(1, 0.5)  # Ray says which.
