"""One training: what it begins with, what is recorded of it, and what can go wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from fakes import GENOME, FakeTrainer, make_plan, make_record

from miha.callbacks import Callback
from miha.errors import ArgumentError, MihaError, MihaWarning, RunStopped, TrainerError
from miha.executors.training import (
    LONGEST_FAILURE,
    Training,
    failed,
    failure_of,
    is_user_error,
    record_of,
    train_on,
)
from miha.records import UNCHANGED, Change, Task
from miha.search.fitness import LOSES

FASTER = GENOME.replace(learning_rate=0.01)
CHANGE = Change("learning_rate", "learning rate 0.005 -> 0.01")
PARENT = make_record("initial", None, None, values=(0.6, 0.5), age=7)


def task_of(phase="clone", clone=1, genome=FASTER, change=CHANGE, epochs=2, **changes):
    cycle = None if phase in ("initial", "final") else 1
    clone = clone if phase == "clone" else None
    archive = f"population/1_{clone}_model.zip"
    return Task(phase, cycle, clone, epochs, genome, change, archive, **changes)


def training_of(trainer=None, callbacks=(), **changes):
    return Training(make_plan(**changes), trainer or FakeTrainer(), callbacks)


def run(training, task=None, parent=PARENT):
    return training.run(task or task_of(), parent, training.trainer.snapshot())


class Watching(Callback):
    def __init__(self):
        self.calls = []

    def on_training_begin(self, task):
        self.calls.append("begin")

    def on_epoch_end(self, task, epoch):
        self.calls.append("epoch")


def test_a_clone_is_recorded_with_its_curve_and_its_fitness():
    network = run(training_of(fitness=lambda curve: curve.start - curve.last))
    record = network.record
    assert (record.archive, record.parent) == ("population/1_1_model.zip", PARENT.archive)
    assert (record.genome, record.change) == (FASTER, CHANGE)
    assert (record.first_epoch, record.age) == (PARENT.age + 1, PARENT.age + 2)
    assert record.value == record.values("val_loss")[-1]
    assert record.start == PARENT.value
    assert record.fitness == PARENT.value - record.value
    assert record.failure is None
    assert network.snapshot is not None


def test_only_a_clone_has_a_fitness():
    assert run(training_of(), task_of("winner")).record.fitness is None


def test_a_fitness_counts_from_no_value_where_the_parent_has_none():
    record = run(training_of(), parent=PARENT.replace(value=math.nan)).record
    assert record.start is None
    assert math.isfinite(record.fitness)


def test_who_watches_is_told_of_the_beginning_and_of_every_epoch():
    watching = Watching()
    run(training_of(callbacks=[watching]))
    assert watching.calls == ["begin", "epoch", "epoch"]


def test_a_training_begins_from_the_values_and_the_genome_of_its_parent():
    training = training_of()
    start = training.trainer.snapshot()
    training.trainer.express(GENOME.replace(optimizer="lion"))
    training.trainer.train(1, np.random.default_rng(0), None, lambda epoch: None)
    training.run(task_of(), PARENT, start)
    assert training.trainer.trainings[-1].start == start.variables[0][0]


def test_a_training_without_epochs_has_the_value_of_its_parent():
    record = run(training_of(), task_of("winner", epochs=0)).record
    assert record.epochs == () and record.value == PARENT.value
    assert record.age == PARENT.age


def test_all_clones_of_a_cycle_see_the_same_order_and_noise_and_no_two_cycles_do():
    trainer = FakeTrainer()
    training = training_of(trainer)
    start = trainer.snapshot()
    for clone in (0, 1):
        training.run(task_of(clone=clone), PARENT, start)
    other = Task("clone", 2, 0, 2, FASTER, CHANGE, "population/2_0_model.zip")
    training.run(other, PARENT, start)
    first, second, third = trainer.trainings
    assert first.orders == second.orders and first.noise == second.noise
    assert first.orders != third.orders and first.noise != third.noise


def test_every_restart_of_a_cycle_draws_other_weights():
    trainer = FakeTrainer()
    training = training_of(trainer)
    change = Change("restart", "fresh weights", "restart")
    for clone in (1, 2):
        run(training, task_of(clone=clone, change=change))
    first, second = trainer.trainings
    assert first.start != second.start


def test_a_clone_that_diverges_has_failed_and_keeps_its_values():
    network = run(training_of(FakeTrainer(diverges=lambda genome: genome == FASTER)))
    assert network.record.failure == "diverged: val_loss is nan"
    assert network.record.fitness == LOSES
    assert len(network.record.epochs) == 1
    assert network.snapshot is not None


def test_a_network_that_diverges_goes_on_from_the_values_before():
    training = training_of(FakeTrainer(diverges=lambda genome: True))
    start = training.trainer.snapshot()
    with pytest.warns(MihaWarning, match="diverged in its winner training"):
        network = training.run(task_of("winner"), PARENT, start)
    assert network.snapshot is start
    assert network.record.value == PARENT.value
    assert network.record.failure == "diverged: val_loss is nan"


def test_what_training_a_clone_raises_is_its_own_failure():
    training = training_of(FakeTrainer(fails=lambda genome: ValueError("too fast")))
    with pytest.warns(MihaWarning, match="Clone 1 of cycle 1 .* ValueError: too fast"):
        network = run(training)
    record = network.record
    assert record.failure.startswith("Traceback (most recent call last)")
    assert record.failure.endswith("ValueError: too fast\n")
    assert (record.archive, record.epochs, record.fitness) == (None, (), LOSES)
    assert network.snapshot is None


def test_what_training_the_network_itself_raises_ends_the_run():
    training = training_of(FakeTrainer(fails=lambda genome: ValueError("no memory")))
    with pytest.raises(ValueError, match="no memory"):
        run(training, task_of("winner"))


def test_what_a_callback_raises_in_a_clone_ends_the_run():
    class Broken(Callback):
        def on_epoch_end(self, task, epoch):
            raise ZeroDivisionError("no")

    with pytest.raises(MihaError, match="Broken.on_epoch_end"):
        run(training_of(callbacks=[Broken()]))


def test_what_a_users_fitness_raises_ends_the_run():
    def fitness(curve):
        raise KeyError("lost")

    with pytest.raises(MihaError, match="fitness"):
        run(training_of(fitness=fitness))


def test_a_value_that_is_not_logged_costs_one_epoch():
    trainer = FakeTrainer()
    with pytest.raises(MihaError, match=r"`monitor` must name .* Received: monitor='val_f1'"):
        run(training_of(trainer, monitor="val_f1"), task_of(epochs=9))
    assert trainer.epochs == 1


@pytest.mark.parametrize(
    ("error", "is_users"),
    [
        (ValueError("a clone's"), False),
        (TrainerError("a clone's"), False),
        (ArgumentError("the user's"), True),
        (RunStopped("the user's"), True),
    ],
)
def test_an_error_of_the_users_is_no_failure_of_a_clone(error, is_users):
    assert is_user_error(error) == is_users


def test_a_child_is_evaluated_and_not_trained():
    trainer = FakeTrainer()
    training = training_of(trainer)
    change = Change("crossover", "joins 1 and 2", mate="population/1_2_model.zip")
    task = task_of(clone=3, genome=GENOME, change=change, epochs=0)
    network = training.evaluate(task, PARENT, trainer.snapshot())
    assert trainer.epochs == 0
    assert network.record.epochs == () and network.record.fitness is None
    assert network.record.value == pytest.approx((4.0 - 0.1) ** 2)
    assert network.record.first_epoch == PARENT.age + 1


def test_the_learning_rate_changes_by_the_factors_of_the_task():
    trainer = FakeTrainer()
    training = training_of(trainer)
    record = run(training, replace(task_of("winner"), rates=(1.0, 0.5))).record
    run(training, task_of("final"))
    assert [one.rates for one in trainer.trainings] == [(1.0, 0.5), None]
    assert record.rates == (1.0, 0.5)


class Averaging(FakeTrainer):
    """A trainer whose weights are averaged at the end, as some optimizers of Keras do."""

    def finalize(self):
        super().finalize()
        return {"val_loss": 0.125}


def test_weights_are_averaged_after_the_last_training_only():
    trainer = Averaging()
    training = training_of(trainer)
    assert run(training, task_of("winner")).record.value != 0.125
    record = run(training, task_of("final")).record
    assert record.value == record.epochs[-1].logs["val_loss"] == 0.125
    assert "loss" in record.epochs[-1].logs
    assert trainer.finalized == 1


def test_nothing_is_averaged_where_the_last_training_has_no_epochs():
    trainer = Averaging()
    assert train_on(trainer, task_of("final", epochs=0), 0, lambda epoch: None) == ()
    assert trainer.finalized == 0


def test_a_long_traceback_is_cut_to_its_end():
    text, story = failure_of(ValueError("x" * 2 * LONGEST_FAILURE))
    assert text.startswith("ValueError: xxx")
    assert len(story) == LONGEST_FAILURE and story.endswith("xxx\n")


def test_a_clone_that_failed_has_no_archive_and_no_start():
    with pytest.warns(MihaWarning, match="Clone 1 of cycle 1 .* no values."):
        network = failed(task_of(), PARENT, "no values.", "no values")
    record = network.record
    assert (record.archive, record.start, record.failure) == (None, None, "no values")
    assert math.isnan(record.value) and record.has_lost and network.snapshot is None


def test_a_record_is_written_before_its_outcome_is_known():
    record = record_of(task_of(change=UNCHANGED), PARENT, ())
    assert math.isnan(record.value) and record.fitness is None and record.failure is None
