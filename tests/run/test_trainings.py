"""Trainings: each is trained once, recorded, and recalled after."""

from __future__ import annotations

import math

import pytest
from fakes import GENOME, FakeTrainer, make_loop, make_plan, run

from miha.callbacks import Callback
from miha.errors import MihaError, MihaWarning
from miha.records import UNCHANGED, Change
from miha.run.trainings import first_task, last_task, make_task, untrained
from miha.search import best as best_module
from miha.storage.folder import START
from miha.storage.journal import Journal

LARGER = GENOME.replace(batch_size=8)
DRAWN = [(GENOME, UNCHANGED), (LARGER, Change("batch_size", "batch size 4 -> 8"))]


@pytest.mark.parametrize(
    ("phase", "cycle", "clone", "epochs", "archive"),
    [
        ("initial", None, None, 5, "model/model_init.zip"),
        ("clone", 2, 1, 3, "population/2_1_model.zip"),
        ("winner", 2, None, 2, "model/model_2.zip"),
        ("final", None, None, 5, "model/model_final.zip"),
    ],
)
def test_a_task_has_the_epochs_of_its_phase_and_a_name(phase, cycle, clone, epochs, archive):
    plan = make_plan(m=5, n=3, k=2)
    task = make_task(plan, phase, GENOME, cycle, clone)
    assert (task.phase, task.cycle, task.clone) == (phase, cycle, clone)
    assert (task.epochs, task.archive, task.genome) == (epochs, archive, GENOME)
    assert task.change == UNCHANGED


def test_the_first_and_the_last_training_have_m_epochs_or_none_at_the_target():
    plan = make_plan(m=5)
    assert first_task(plan, GENOME).epochs == last_task(plan, GENOME, (), False).epochs == 5
    assert last_task(plan, GENOME, (), True).epochs == 0


def test_the_users_own_network_is_a_record_without_epochs():
    start = untrained(GENOME)
    assert (start.archive, start.parent, start.genome) == (START, None, GENOME)
    assert (start.age, start.epochs) == (0, ())
    assert math.isnan(start.value)


@pytest.fixture
def loop(tmp_path):
    """A loop that has done its first training."""
    return begun(tmp_path)


def begun(path, trainer=None, **changes):
    loop = make_loop(path, trainer, **changes)
    loop.recorder.start_with(START, loop.start)
    return loop


def first_of(loop):
    return loop.trainings.train(first_task(loop.plan, GENOME), untrained(GENOME))


def test_a_training_is_recorded_with_its_parent_and_its_time(loop):
    with loop.trainings.recording():
        record = first_of(loop)
    assert loop.log.trainings == [record]
    assert (record.parent, record.first_epoch, len(record.epochs)) == (START, 1, 2)
    assert record.start is None and record.fitness is None
    assert record.seconds >= sum(epoch.seconds for epoch in record.epochs)
    assert record.value == record.values("val_loss")[-1]


def test_what_is_recorded_is_not_trained_again(loop, tmp_path):
    with loop.trainings.recording():
        record = first_of(loop)
    again = begun(tmp_path)
    with again.trainings.recording():
        assert first_of(again) == record
    assert again.trainer.trainings == []


def test_the_winner_trains_the_epochs_that_it_is_given(loop):
    with loop.trainings.recording():
        winner = loop.trainings.train_winner(first_of(loop), 1, 7)
    assert (winner.phase, winner.cycle, len(winner.epochs)) == ("winner", 1, 7)
    assert winner.parent == "model/model_init.zip"


def test_clones_are_trained_in_their_order_and_recalled_as_far_as_they_are_recorded(loop, tmp_path):
    tasks = loop.trainings.clone_tasks(DRAWN, 1)
    assert [(task.clone, task.genome) for task in tasks] == [(0, GENOME), (1, LARGER)]
    with loop.trainings.recording():
        parent = first_of(loop)
        clones = [*loop.trainings.train_clones(loop.executor, tasks, parent)]
    assert [clone.clone for clone in clones] == [0, 1]
    assert {clone.parent for clone in clones} == {parent.archive}
    assert all(clone.start == parent.value for clone in clones)

    Journal(tmp_path / "journal.jsonl").cut(2)
    again = begun(tmp_path)
    with again.trainings.recording():
        parent = first_of(again)
        found = [*again.trainings.train_clones(again.executor, tasks, parent)]
    assert len(again.trainer.trainings) == 1
    assert [clone.value for clone in found] == [clone.value for clone in clones]


def test_a_child_is_evaluated_with_the_mean_of_its_parents(loop):
    with loop.trainings.recording():
        parent = first_of(loop)
        tasks = loop.trainings.clone_tasks(DRAWN, 1)
        clones = [*loop.trainings.train_clones(loop.executor, tasks, parent)]
        drawn = (LARGER, Change("crossover", "the mean", mate=clones[0].archive))
        child = loop.trainings.evaluate(drawn, clones[::-1], 1)
    assert (child.clone, child.parent, child.epochs) == (3, clones[1].archive, ())
    ends = [training.end for training in loop.trainer.trainings[1:]]
    assert child.value == (sum(ends) / 2 - 0.1) ** 2
    assert loop.recorder.values(child).variables[0] == sum(ends) / 2
    assert len(loop.trainer.trainings) == 3


def test_a_cycle_that_is_selected_again_is_told_once(tmp_path):
    told = []

    class Listener(Callback):
        def on_cycle_end(self, cycle, clones, winner):
            told.append((cycle, winner))

    run(make_loop(tmp_path, c=1, callbacks=[Listener()]))
    Journal(tmp_path / "journal.jsonl").cut(5)
    run(make_loop(tmp_path, c=1, callbacks=[Listener()]))
    assert [cycle for cycle, _ in told] == [1]


def test_three_cycles_in_which_every_clone_fails_end_the_run(tmp_path):
    def fails(genome):
        return MemoryError() if len(trainer.trainings) % 4 != 1 else None

    # Trainings 0, 4, 8 and so on are the network's own.
    trainer = FakeTrainer(fails=fails)
    text = r"A clone in three cycles must succeed\. Received: cycles 1 to 3"
    with pytest.warns(MihaWarning) as warned, pytest.raises(MihaError, match=text):
        run(make_loop(tmp_path, trainer, c=5))
    gone_on = [str(w.message) for w in warned if "Every clone of cycle" in str(w.message)]
    assert [text.split(" has")[0] for text in gone_on] == [
        "Every clone of cycle 1",
        "Every clone of cycle 2",
    ]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_last_training_says_which_better_network_is_restored(tmp_path, monkeypatch, mode):
    # So few epochs tell nothing of the noise.
    monkeypatch.setattr(best_module, "NOISES", 0.0)
    best, last = (0.0, 9.0) if mode == "min" else (9.0, 0.0)
    script = {i: {"val_loss": 5.0} for i in range(10)}
    script |= {2: {"val_loss": best}, 9: {"val_loss": last}}
    loop = make_loop(tmp_path, FakeTrainer(script=script), restore_best=True, mode=mode)
    assert run(loop).restored == "population/1_1_model.zip"
    assert f"Ends with the best network, {best:.5g}" in (tmp_path / "run.log").read_text()
    assert loop.log.resulting.archive == "population/1_1_model.zip"


def test_of_equals_the_run_ends_with_the_last_network(tmp_path):
    script = {i: {"val_loss": 5.0} for i in range(10)}
    loop = make_loop(tmp_path, FakeTrainer(script=script), restore_best=True)
    assert run(loop).restored is None


def test_a_reason_to_stop_is_logged_and_recorded(tmp_path):
    loop = make_loop(tmp_path, patience=1, monitor="loss", mode="max")
    run(loop)
    assert f"Stops: {loop.log.stopped}" in (tmp_path / "run.log").read_text()
