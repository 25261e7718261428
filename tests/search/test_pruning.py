"""Pruning: a clone that is clearly behind the control of the same epoch stops."""

from __future__ import annotations

import math
import shutil

import pytest
from fakes import GENOME, FakeTrainer, FakeWorkers, make_loop, make_plan, make_record, run
from stories import story

from miha.archive.archive import describe
from miha.callbacks import Callback
from miha.errors import MihaWarning
from miha.records import Change, Epoch, Limits
from miha.results.reader import load_run
from miha.run.trainings import make_task
from miha.search.ancestry import main_line
from miha.search.pruning import limited, limits, saved_epochs
from miha.search.selection import noise
from miha.storage.journal import Journal
from miha.storage.logbook import Logbook

MUTANT = Change("batch_size", "batch size 4 -> 8")
RESTART = Change("restart", "fresh weights", "restart")
PAST = [2.0, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3]
"""A network without noise."""


# The rules alone.


def test_a_clone_may_be_a_tenth_worse_than_the_control_of_the_same_epoch():
    control = make_record(values=(1.2, 1.1))
    assert limits(control, PAST, make_plan()).values == pytest.approx((1.32, 1.21))
    found = limits(control, PAST, make_plan(mode="max"))
    assert found.values == pytest.approx((1.08, 0.99))
    assert (found.monitor, found.mode) == ("val_loss", "max")


def test_values_below_zero_are_a_tenth_worse_on_the_other_side():
    control = make_record(values=(-1.0, -2.0))
    assert limits(control, [], make_plan()).values == pytest.approx((-0.9, -1.8))


def test_a_noisy_network_gives_its_clones_three_times_its_noise():
    past = [1.0, 2.0, 1.5, 2.5, 1.0, 2.0]
    control = make_record(values=(1.2, 1.1))
    spread = 3 * noise([*past, 1.2, 1.1])
    assert spread > 0.2
    found = limits(control, [99.0, -99.0, *past], make_plan())
    assert found.values == pytest.approx((1.2 + spread, 1.1 + spread))


@pytest.mark.parametrize(
    "control", [None, make_record(values=(math.nan,)), make_record().replace(value=math.inf)]
)
def test_a_control_that_failed_prunes_nobody(control):
    assert limits(control, PAST, make_plan()) is None


def test_each_clone_but_a_restart_has_limits():
    plan = make_plan()
    both = [make_task(plan, "clone", GENOME, 1, i, c) for i, c in enumerate((MUTANT, RESTART))]
    bounds = Limits("val_loss", "min", (1.0, 0.9))
    assert [task.limits for task in limited(both, bounds)] == [bounds, None]
    assert [task.limits for task in limited(both, None)] == [None, None]


@pytest.mark.parametrize(
    ("number", "value", "expected"),
    [
        (0, 1.01, True),
        (0, 1.0, False),
        (0, 0.5, False),
        (1, 0.91, True),
        (2, 99.0, False),  # The control has trained no such epoch.
        (0, math.nan, True),
    ],
)
def test_limits_are_broken_by_a_worse_value_of_the_same_epoch(number, value, expected):
    epoch = Epoch({"loss": 0.1, "val_loss": value}, 0.1)
    assert Limits("val_loss", "min", (1.0, 0.9)).are_broken(number, epoch) is expected
    mirrored = Epoch({"loss": 0.1, "val_loss": -value}, 0.1)
    assert Limits("val_loss", "max", (-1.0, -0.9)).are_broken(number, mirrored) is expected


def test_the_epochs_that_were_not_trained_are_saved():
    one, two = (make_record(values=(1.0,) * count, pruned=True) for count in (1, 2))
    whole = make_record(values=(1.0,) * 4)
    failed = make_record(values=(math.nan,), failure="diverged")
    assert saved_epochs([one, two, whole, failed], 4) == 3 + 2
    assert saved_epochs([], 4) == 0


# Whole runs.

NUMBERS = {"n": 4, "c": 3, "pop_size": 5, "restarts": 2, "prune": True}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run with pruning that was never interrupted."""
    loop = make_loop(tmp_path_factory.mktemp("whole") / "run", **NUMBERS)
    run(loop)
    return loop


def pruned_of(log: Logbook):
    return [record for record in log.trainings if record.pruned]


def test_a_run_prunes_clones_that_are_clearly_behind_the_control(whole):
    log, plan = whole.log, whole.plan
    assert len(pruned_of(log)) > 2
    for cycle in (1, 2, 3):
        control, *mutants = log.clones(cycle)
        parent = next(r for r in log.trainings if r.archive == control.parent)
        bounds = limits(control, plan.values(main_line(log.trainings, parent)), plan).values
        assert not control.pruned and len(control.epochs) == 4
        for clone in mutants:
            pairs = zip(clone.values("val_loss"), bounds, strict=False)
            behind = [value > worst for value, worst in pairs]
            if clone.pruned:
                assert behind[-1] and not any(behind[:-1])
                assert len(clone.epochs) < 4 and not clone.change.is_restart
                assert clone.value == clone.values("val_loss")[-1]
                assert clone.age == parent.age + len(clone.epochs)
            else:
                assert len(clone.epochs) == 4
                assert clone.change.is_restart or not any(behind[:-1])


def test_a_restart_is_never_pruned_however_far_behind(whole):
    control, *_, restart = whole.log.clones(1)
    assert restart.change.is_restart
    assert restart.value > 2 * control.value


def test_a_pruned_clone_has_a_fitness_and_never_wins(whole):
    for record in pruned_of(whole.log):
        assert math.isfinite(record.fitness) and record.has_lost and record.failure is None
        assert not whole.log.is_selected(record)


def test_the_epochs_saved_are_the_winners(whole):
    assert whole.trainer.epochs == whole.schedule.epochs == len(whole.log.history)
    for cycle in (1, 2, 3):
        [winner] = [r for r in whole.log.trainings if r.phase == "winner" and r.cycle == cycle]
        saved = sum(4 - len(clone.epochs) for clone in whole.log.clones(cycle))
        assert len(winner.epochs) == 1 + saved


def test_journal_archive_log_and_table_say_what_was_pruned(whole):
    path = whole.folder.path
    entries = [e for e in Journal(path / "journal.jsonl").read() if e["event"] == "training"]
    expected = [record.pruned for record in whole.log.trainings]
    assert [entry["pruned"] for entry in entries] == expected
    assert pruned_of(load_run(path).log) == pruned_of(whole.log)
    first = pruned_of(whole.log)[0]
    assert describe(path / first.archive)["pruned"] is True
    lines = [line for line in (path / "run.log").read_text().splitlines() if ", pruned ->" in line]
    assert len(lines) == sum(expected)
    clones = whole.log.lineage.set_index(["cycle", "clone"])
    assert clones["pruned"].sum() == sum(expected)
    assert clones.loc[(first.cycle, first.clone), "pruned"]


def test_without_pruning_every_clone_trains_all_its_epochs(tmp_path):
    loop = make_loop(tmp_path, **NUMBERS | {"prune": False})
    run(loop)
    assert pruned_of(loop.log) == []
    assert loop.trainer.epochs == loop.schedule.epochs


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("changes", [{}, {"crossover": True}, {"k": 0}, {"rest": True}], ids=str)
def test_a_run_with_pruning_trains_exactly_its_epochs(tmp_path, seed, changes):
    loop = make_loop(tmp_path, **NUMBERS | {"seed": seed, "c": 2} | changes)
    run(loop)
    assert loop.trainer.epochs == loop.schedule.epochs


def test_of_clones_that_fail_and_clones_that_are_pruned_only_these_save_epochs(tmp_path):
    def fails(genome):
        return MemoryError("no room") if genome.batch_size == 8 else None

    def diverges(genome):
        return genome.optimizer == "lion"

    trainer = FakeTrainer(fails=fails, diverges=diverges)
    loop = make_loop(tmp_path, trainer, **NUMBERS | {"seed": 0, "restarts": 0, "c": 5})
    with pytest.warns(MihaWarning, match="failed and loses: MemoryError: no room"):
        run(loop)
    lost = [record for record in loop.log.trainings if record.failure is not None]
    assert {len(record.epochs) for record in lost} == {0, 1}
    assert len(pruned_of(loop.log)) > 0
    used = sum(len(record.epochs) for record in loop.log.trainings)
    missing = sum(4 - len(record.epochs) for record in lost)
    assert used + missing == loop.schedule.epochs
    # What failed was trained for all its epochs, and is not recorded as such.
    assert loop.trainer.epochs <= loop.schedule.epochs


def test_a_control_that_diverges_prunes_nobody_in_a_run(tmp_path):
    trainer = FakeTrainer(script={1: {"loss": math.nan}})
    loop = make_loop(tmp_path, trainer, **NUMBERS | {"c": 1})
    run(loop)
    assert pruned_of(loop.log) == []
    assert [len(clone.epochs) for clone in loop.log.clones(1)] == [1, 4, 4, 4, 4]


def test_where_all_mutants_are_pruned_the_control_goes_on_with_their_epochs(tmp_path):
    far = {i: {"val_loss": 99.0} for i in range(2, 6)}
    loop = make_loop(tmp_path, FakeTrainer(script=far), **NUMBERS | {"c": 1, "restarts": 0})
    run(loop)
    assert loop.log.winners == {1: 0}
    assert [len(clone.epochs) for clone in loop.log.clones(1)] == [4, 1, 1, 1, 1]
    assert [len(r.epochs) for r in loop.log.trainings if r.phase == "winner"] == [1 + 4 * 3]


def test_a_callback_sees_the_epochs_that_were_trained(tmp_path, whole):
    seen = []

    class Watching(Callback):
        def on_epoch_end(self, task, epoch):
            seen.append((task.archive, epoch.logs["val_loss"]))

    loop = make_loop(tmp_path, callbacks=[Watching()], **NUMBERS)
    run(loop)
    assert seen == [
        (record.archive, value)
        for record in whole.log.trainings
        for value in record.values("val_loss")
    ]


class Kills(Callback):
    """Ends the process in the training of a number."""

    def __init__(self, number):
        self.number = number

    def on_epoch_end(self, task, epoch):
        if self.number == 0:
            raise KeyboardInterrupt

    def on_training_end(self, network):
        self.number -= 1


@pytest.mark.parametrize("number", range(20))
def test_a_run_killed_in_any_training_ends_as_one_never_interrupted(tmp_path, whole, number):
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(make_loop(path, callbacks=[Kills(number)], **NUMBERS))
    assert len(Logbook.of(Journal(path / "journal.jsonl").read()).trainings) == number
    run(make_loop(path, **NUMBERS))
    assert story(path) == story(whole.folder.path)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_workers_prune_the_same_clones(tmp_path, whole, number):
    workers = FakeWorkers(number)
    run(make_loop(tmp_path / "run", workers=workers, **NUMBERS))
    assert story(tmp_path / "run") == story(whole.folder.path)
    # The control is trained first, alone: the others are compared with it.
    assert [task.clone for task in workers.begun if task.cycle == 1][0] == 0


@pytest.mark.parametrize("number", [2, 5])
def test_a_run_on_workers_that_was_killed_goes_on_in_one_process(tmp_path, whole, number):
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        callbacks = [Kills(8)]
        run(make_loop(path, workers=FakeWorkers(number), callbacks=callbacks, **NUMBERS))
    shutil.copytree(path, tmp_path / "again")
    run(make_loop(path, **NUMBERS))
    run(make_loop(tmp_path / "again", workers=FakeWorkers(3), **NUMBERS))
    assert story(path) == story(tmp_path / "again") == story(whole.folder.path)
