"""Crossover: a child of the two fittest clones, which is evaluated and not trained."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from fakes import GENOME, FakeTrainer, FakeWorkers, make_loop, make_plan, make_record, run
from stories import story

from miha.callbacks import Callback
from miha.mutations import resolve
from miha.records import Change, Snapshot
from miha.results.reader import load_run
from miha.search.crossover import child_of, joined, mean, parents_of_child, wins
from miha.search.selection import noise
from miha.storage.journal import Journal

FASTER = GENOME.replace(learning_rate=0.01)
LARGER = GENOME.replace(batch_size=8)
ADAM = GENOME.replace(optimizer="adam", learning_rate=0.001)
GELU = GENOME.with_activation("hidden", "gelu")
RELU = GENOME.with_activation("last", "relu")
RESTART = Change("restart", "fresh weights", "restart")


@pytest.mark.parametrize(
    ("fitter", "other", "child"),
    [
        (LARGER, FASTER, LARGER.replace(learning_rate=0.01)),
        (GELU, RELU, GELU.with_activation("last", "relu")),
        (GELU, ADAM, ADAM.with_activation("hidden", "gelu")),
        # A learning rate is one of its optimizer.
        (ADAM, FASTER, ADAM),
        (FASTER, ADAM, FASTER),
        (LARGER, GENOME.replace(batch_size=2), LARGER),
        (GENOME, ADAM, ADAM),
    ],
)
def test_a_child_has_both_clones_changes_where_they_are_compatible(fitter, other, child):
    assert joined(fitter, other, GENOME) == child


def clone(number, genome, fitness=0.0, change=None, **changes):
    change = change or Change("batch_size", "something")
    record = make_record(clone=number, genome=genome, fitness=fitness, change=change)
    return record.replace(**changes)


def test_the_two_fittest_are_the_parents_the_fitter_one_first():
    clones = [clone(0, GENOME, 0.1), clone(1, LARGER, 0.3), clone(2, FASTER, 0.2)]
    assert parents_of_child(clones) == (clones[1], clones[2])


def test_the_control_may_be_a_parent():
    control = make_record(clone=0, fitness=0.5)
    assert parents_of_child([control, clone(1, LARGER)]) == (control, clone(1, LARGER))


def test_a_restart_is_no_parent():
    clones = [clone(0, GENOME, 0.1), clone(1, LARGER, 0.3), clone(2, FASTER, 0.9, RESTART)]
    assert parents_of_child(clones) == (clones[1], clones[0])
    assert parents_of_child(clones[1:]) == ()


@pytest.mark.parametrize("changes", [{"fitness": None}, {"fitness": -math.inf}])
def test_a_clone_that_has_lost_is_no_parent(changes):
    lost = clone(2, FASTER, 0.9).replace(**changes)
    assert parents_of_child([clone(1, LARGER), lost]) == ()


def test_networks_of_other_activations_have_no_child():
    assert parents_of_child([clone(2, GELU), clone(1, LARGER)]) == ()
    assert len(parents_of_child([clone(2, GELU), clone(1, GELU.replace(batch_size=8))])) == 2


def test_a_child_says_whose_it_is_and_what_it_has_of_the_other():
    fitter, other = clone(2, LARGER), clone(1, FASTER)
    genome, change = child_of(fitter, other, GENOME)
    assert genome == LARGER.replace(learning_rate=0.01)
    assert (change.kind, change.transition, change.mate) == ("crossover", "inherit", other.archive)
    assert change.text == "the mean of clones 2 and 1, learning rate 0.005 -> 0.01"
    genome, change = child_of(fitter, clone(0, GENOME), GENOME)
    assert (genome, change.text) == (LARGER, "the mean of clones 2 and 0")


def test_the_mean_is_of_floats_only():
    first, second = (
        Snapshot((np.full(3, v, "float32"), np.array([s])), "sgd", (np.array(s),))
        for v, s in ((1.0, 4), (2.0, 8))
    )
    found = mean(first, second)
    np.testing.assert_array_equal(found.variables[0], np.full(3, 1.5, "float32"))
    assert found.variables[0].dtype == np.float32
    assert (found.variables[1][0], found.slots[0]) == (4, 4)


PAST = [2.0, 2.2, 1.8, 2.1, 1.9, 2.2, 1.8, 2.0]


@pytest.mark.parametrize(
    ("margin", "gain", "expected"),
    [(1.0, 1.1, True), (1.0, 0.9, False), (0.0, 0.01, True), (0.0, 0.0, False), (0.0, -1, False)],
)
def test_a_child_wins_only_beyond_the_margin(margin, gain, expected):
    ahead = gain * noise(PAST)
    winner = clone(1, LARGER, value=1.0)
    plan = make_plan(margin=margin)
    assert wins(clone(3, LARGER, value=1.0 - ahead), winner, PAST, plan) is expected
    plan = make_plan(margin=margin, mode="max")
    assert wins(clone(3, LARGER, value=1.0 + ahead), winner, PAST, plan) is expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_child_without_a_value_does_not_win(value):
    assert not wins(clone(3, LARGER, value=value), clone(1, LARGER, value=1.0), PAST, make_plan())


# Whole runs.

NUMBERS = {
    "pop_size": 4,
    "c": 2,
    "crossover": True,
    "mutations": resolve(["batch_size", "learning_rate"]),
}


def children(loop):
    return [record for record in loop.log.trainings if record.change.kind == "crossover"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with crossover that was never interrupted."""
    loop = make_loop(tmp_path_factory.mktemp("whole") / "run", **NUMBERS)
    run(loop)
    return loop


def test_a_run_with_crossover_trains_no_epoch_more(whole):
    assert whole.trainer.epochs == whole.schedule.epochs == len(whole.log.history)
    assert len(children(whole)) == 2
    assert len(whole.log.trainings) == whole.plan.trainings
    assert len(whole.trainer.trainings) == whole.schedule.trainings


def test_a_child_is_the_last_clone_of_its_cycle_with_two_parents_and_no_epochs(whole):
    for child in children(whole):
        *clones, last = whole.log.clones(child.cycle)
        assert last is child
        assert (child.clone, child.epochs, child.fitness, child.failure) == (4, (), None, None)
        fitter, other = parents_of_child(clones)
        assert (child.parent, child.change.mate) == (fitter.archive, other.archive)
        assert child.first_epoch == fitter.age + 1
        assert child.start == fitter.value


def test_a_child_has_the_mean_of_the_weights_and_the_value_that_they_have(whole):
    def weight(archive):
        return whole.trainer.load((whole.folder.path / archive).read_bytes())["weight"]

    for child in children(whole):
        found = weight(child.archive)
        assert found == (weight(child.parent) + weight(child.change.mate)) / 2
        assert child.value == (found - 0.1) ** 2


def test_a_child_that_wins_is_trained_on(tmp_path):
    class Wonderful(FakeTrainer):
        def evaluate(self):
            return {"val_loss": 0.0}

    loop = make_loop(tmp_path, Wonderful(), **NUMBERS | {"c": 1})
    run(loop)
    assert loop.log.winners == {1: 4}
    [child] = children(loop)
    [winner] = [record for record in loop.log.trainings if record.phase == "winner"]
    assert (winner.parent, winner.genome) == (child.archive, child.genome)
    assert winner.first_epoch == child.first_epoch
    assert loop.log.lineage["selected"].tolist() == [False] * 4 + [True]
    trained = loop.trainer.trainings[5]
    assert trained.start == loop.trainer.load((tmp_path / child.archive).read_bytes())["weight"]
    # What led to the network are its own epochs, and those of the fitter clone.
    assert load_run(tmp_path).schedule.genome == winner.genome


@pytest.mark.parametrize(("margin", "winner"), [(0.01, 4), (1.0, 0)])
def test_a_child_that_is_not_better_by_the_margin_loses(tmp_path, margin, winner):
    first = iter([5.0, 6.0, 4.0, 6.0, 4.0, 6.0])

    class Noisy(FakeTrainer):
        """Goes up and down by 1 at first; a mutant ends at 4.5, and its child at 4."""

        def evaluate(self):
            return {"val_loss": 4.0}

        def _logs(self):
            number = len(self.trainings) - 1
            value = next(first) if number == 0 else 4.5 if number == 2 else 5.0
            return super()._logs() | {"val_loss": value}

    numbers = NUMBERS | {"m": 6, "n": 1, "c": 1}
    loop = make_loop(tmp_path, Noisy(), margin=margin, **numbers)
    run(loop)
    assert loop.log.winners == {1: winner}


def test_where_a_restart_wins_there_is_no_child(tmp_path):
    trainer = FakeTrainer(script={4: {"val_loss": 0.0}})
    loop = make_loop(tmp_path, trainer, restarts=1, **NUMBERS | {"c": 1})
    run(loop)
    assert loop.log.winners == {1: 3}
    assert children(loop) == []


def test_where_all_clones_fail_there_is_no_child(tmp_path):
    trainer = FakeTrainer(script={i: {"loss": math.nan} for i in range(1, 5)})
    loop = make_loop(tmp_path, trainer, **NUMBERS | {"c": 1})
    with pytest.warns(UserWarning, match="Every clone of cycle 1 has failed"):
        run(loop)
    assert children(loop) == []


def test_other_activations_have_no_child_in_a_run(tmp_path):
    numbers = NUMBERS | {"mutations": resolve(["activation"]), "pop_size": 2}
    loop = make_loop(tmp_path, **numbers)
    run(loop)
    assert children(loop) == []


class Kills(Callback):
    """Ends the process when a training begins, or when one is recorded."""

    def __init__(self, hook, number):
        self.number = number
        setattr(self, hook, self.count)

    def count(self, _):
        if self.number == 0:
            raise KeyboardInterrupt
        self.number -= 1


@pytest.mark.parametrize("hook", ["on_training_begin", "on_training_end"])
@pytest.mark.parametrize("number", range(1, 12, 2))
def test_a_run_with_crossover_that_died_goes_on_as_if_it_had_not(tmp_path, whole, hook, number):
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(make_loop(path, callbacks=[Kills(hook, number)], **NUMBERS))
    run(make_loop(path, **NUMBERS))
    assert story(path) == story(whole.folder.path)


def test_a_run_whose_child_was_recorded_and_not_selected_goes_on(tmp_path):
    class Wonderful(FakeTrainer):
        def evaluate(self):
            return {"val_loss": 0.0}

    run(make_loop(tmp_path / "whole", Wonderful(), **NUMBERS))
    for count in range(4, 9):  # From the last clones of cycle 1 to the first of cycle 2.
        path = shutil.copytree(tmp_path / "whole", tmp_path / str(count))
        Journal(path / "journal.jsonl").cut(count)
        run(make_loop(path, Wonderful(), **NUMBERS))
        assert story(path) == story(tmp_path / "whole")


@pytest.mark.parametrize("number", [1, 2, 5])
def test_workers_change_nothing_of_a_run_with_crossover(tmp_path, whole, number):
    run(make_loop(tmp_path / "run", workers=FakeWorkers(number), **NUMBERS))
    assert story(tmp_path / "run") == story(whole.folder.path)
