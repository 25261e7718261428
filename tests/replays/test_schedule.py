"""Schedules of hyperparameters: which way won in a run, and how it is followed again."""

from __future__ import annotations

import json
import math

import pytest
from fakes import GENOME, SPACE, FakeTrainer, make_loop, run
from runs import crossed, old_run

from miha.errors import ArgumentError, MihaWarning
from miha.replays.replay import follow
from miha.replays.schedule import HyperparameterSchedule, Segment, as_schedule
from miha.results.reader import load_run
from miha.search.ancestry import main_line
from miha.search.annealing import cosine

ADAM = GENOME.replace(optimizer="adam", learning_rate=0.01)
SCHEDULE = HyperparameterSchedule(
    (
        Segment(2, GENOME),
        Segment(3, ADAM, "clone", 1, 2),
        Segment(2, ADAM.replace(batch_size=8), "final", rates=(1.0, 0.5)),
    ),
    seed=5,
)


def told(schedule) -> list[tuple]:
    return [(s.phase, s.cycle, s.clone, s.epochs) for s in schedule.segments]


def followed(schedule, seed) -> FakeTrainer:
    trainer = FakeTrainer()
    follow(trainer, schedule, seed, lambda segment, epochs: None)
    return trainer


def weight(trainer) -> float:
    return float(trainer.snapshot().variables[0][0])


def final_weight(path) -> float:
    return FakeTrainer().load((path / "model/model_final.zip").read_bytes())["weight"]


def test_a_schedule_is_the_way_of_the_winners(tmp_path):
    loop = make_loop(tmp_path, c=2, k=1, anneal=True)
    final = run(loop)
    schedule = load_run(tmp_path).schedule
    first, second = (loop.log.winners[cycle] for cycle in (1, 2))
    assert told(schedule) == [
        ("initial", None, None, 2),
        *(("clone", 1, first, 2), ("winner", 1, None, 1)),
        *(("clone", 2, second, 2), ("winner", 2, None, 1)),
        ("final", None, None, 2),
    ]
    assert schedule.epochs == final.age
    assert schedule.genome == final.genome
    assert [segment.rates for segment in schedule.segments] == [()] * 5 + [cosine(2)]
    genomes = {record.archive: record.genome for record in loop.log.trainings}
    assert schedule.segments[1].genome == genomes[f"population/1_{first}_model.zip"]


@pytest.mark.parametrize("changes", [{}, {"anneal": True, "c": 4, "pop_size": 5}, {"k": 0}])
def test_following_it_with_the_seed_of_the_run_repeats_the_network_of_the_run(tmp_path, changes):
    loop = make_loop(tmp_path, seed=11, restore_best=False, **changes)
    run(loop)
    schedule = load_run(tmp_path).schedule
    assert schedule.seed == 11
    trainer = followed(schedule, 11)
    assert weight(trainer) == final_weight(tmp_path)
    assert trainer.trainings[-1] == loop.trainer.trainings[-1]
    assert trainer.genome == schedule.genome
    assert trainer.epochs == schedule.epochs
    assert followed(schedule, 12).trainings[-1] != loop.trainer.trainings[-1]


@pytest.mark.parametrize("seed", range(4))
def test_children_and_rests_are_followed_too(tmp_path, seed):
    changes = {"crossover": True, "rest": True, "anneal": True, "restore_best": False}
    loop = make_loop(tmp_path, c=5, pop_size=4, n=2, seed=seed, **changes)
    run(loop)
    kinds = [record.change.kind for record in main_line(loop.log.trainings, loop.log.last)]
    trainer = followed(load_run(tmp_path).schedule, seed)
    assert trainer.genome == load_run(tmp_path).genome
    if "crossover" not in kinds:  # Means of two are not followed.
        assert trainer.trainings[-1] == loop.trainer.trainings[-1]


def test_of_the_parents_of_a_child_the_fitter_one_is_followed(tmp_path):
    result = crossed(tmp_path, c=1)
    [child] = [record for record in result.log.trainings if record.change.kind == "crossover"]
    [fitter] = [record for record in result.log.trainings if record.archive == child.parent]
    assert told(result.schedule) == [
        ("initial", None, None, 2),
        ("clone", 1, fitter.clone, 2),
        ("winner", 1, None, 1),
        ("final", None, None, 2),
    ]
    assert result.schedule.segments[2].genome == child.genome


def test_the_schedule_of_an_old_run_goes_through_clones_of_clones():
    schedule = old_run("joined").schedule
    assert told(schedule) == [
        ("clone", 3, 4, 1),
        ("clone", 3, 5, 1),
        ("winner", 3, None, 1),
        ("final", None, None, 2),
    ]
    assert old_run("plain").schedule.segments[0].transition == "restart"


def test_it_leads_to_the_best_network_where_the_run_ends_with_that(tmp_path):
    trainer = FakeTrainer(script={6: {"val_loss": 0.0}})  # Clone 1 of cycle 2.
    run(make_loop(tmp_path, trainer, restore_best=True, fitness=lambda curve: curve.last))
    schedule = load_run(tmp_path).schedule
    assert told(schedule)[-1] == ("clone", 2, 1, 2)
    assert told(schedule)[-2] == ("winner", 1, None, 1)
    assert weight(followed(schedule, 0)) == final_weight(tmp_path)


def test_it_begins_with_the_last_restart_and_the_weights_at_hand(tmp_path):
    wins = {i: {"val_loss": 0.0} for i in (3, 4)}
    run(make_loop(tmp_path, FakeTrainer(script=wins), restarts=1))
    schedule = load_run(tmp_path).schedule
    assert told(schedule)[0] == ("clone", 1, 2, 2)
    assert schedule.segments[0].transition == "restart"
    trainer = followed(schedule, 0)
    assert (trainer.trainings[0].start, trainer.trainings[0].genome) == (
        4.0,
        schedule.segments[0].genome,
    )


def test_what_was_given_up_by_backtracking_is_no_part_of_it(tmp_path):
    bad = {i: {"val_loss": 99.0} for i in range(5, 9)}
    loop = make_loop(tmp_path, FakeTrainer(script=bad), backtrack=0.05)
    run(loop)
    schedule = load_run(tmp_path).schedule
    assert [(phase, cycle) for phase, cycle, *_ in told(schedule)] == [
        ("initial", None),
        ("clone", 1),
        ("winner", 1),
        ("final", None),
    ]
    assert followed(schedule, 0).trainings[-1] == loop.trainer.trainings[-1]


def test_what_diverged_is_no_part_of_it(tmp_path):
    trainer = FakeTrainer(script={4: {"loss": math.nan}})  # The winner of cycle 1.
    with pytest.warns(MihaWarning, match="diverged in its winner training"):
        run(make_loop(tmp_path, trainer))
    schedule = load_run(tmp_path).schedule
    assert ("winner", 1) not in [(phase, cycle) for phase, cycle, *_ in told(schedule)]
    assert followed(schedule, 0).trainings[-1] == trainer.trainings[-1]


def test_a_training_that_reached_its_target_at_once_has_one_segment(tmp_path):
    run(make_loop(tmp_path, target=1e9))
    assert told(load_run(tmp_path).schedule) == [("initial", None, None, 2)]


def test_a_run_without_a_good_network_has_no_schedule(tmp_path):
    with pytest.warns(MihaWarning, match="diverged"):
        run(make_loop(tmp_path, FakeTrainer(diverges=lambda genome: True), c=0))
    with pytest.raises(ArgumentError, match="at least one segment"):
        _ = load_run(tmp_path).schedule


def test_every_segment_is_trained_with_its_genome_and_its_rates():
    trainer = followed(SCHEDULE, 5)
    assert [t.genome for t in trainer.trainings] == [s.genome for s in SCHEDULE.segments]
    assert [len(t.orders) for t in trainer.trainings] == [2, 3, 2]
    assert [t.rates for t in trainer.trainings] == [None, None, (1.0, 0.5)]


def test_a_segment_that_diverges_is_taken_back_with_a_warning():
    trainer = FakeTrainer(diverges=lambda genome: genome == ADAM)
    with pytest.warns(MihaWarning, match="diverged in segment 2"):
        epochs = follow(trainer, SCHEDULE, 0, lambda segment, epochs: None)
    assert trainer.trainings[2].start == trainer.trainings[0].end
    assert [number for number, _ in epochs] == [1, 1, 2, 3, 3]


def test_a_network_that_cannot_hold_the_schedule_is_refused_before_it_is_trained():
    strange = [
        (ADAM.replace(optimizer="nadam"), "an optimizer of "),
        (ADAM.replace(learning_rate=None), "a learning rate where"),
        (ADAM.with_activation("last", "gelu"), "activations for "),
        (ADAM.replace(activations=ADAM.activations[:1]), "activations for "),
    ]
    for genome, rule in strange:
        trainer = FakeTrainer()
        schedule = HyperparameterSchedule((Segment(1, GENOME), Segment(1, genome)))
        with pytest.raises(ArgumentError, match=f"must have {rule}.*Received: "):
            follow(trainer, schedule, 0, lambda segment, epochs: None)
        assert trainer.trainings == []
    assert "nadam" not in SPACE.optimizers


def test_a_schedule_is_the_same_after_saving_and_loading(tmp_path):
    path = tmp_path / "schedule.json"
    SCHEDULE.save(path)
    assert HyperparameterSchedule.load(str(path)) == SCHEDULE
    assert as_schedule(path) == as_schedule(SCHEDULE) == SCHEDULE
    assert json.loads(path.read_text())["format"] == 1


@pytest.mark.parametrize("name", ["stretches", "segments"])
def test_a_schedule_of_this_format_is_read_for_ever(name):
    text = """{"format": 1, "seed": null, "NAME": [{"epochs": 2, "genome": {"optimizer":
    "adam", "learning_rate": 0.001, "batch_size": 32, "activations": {"dense": "relu"}}, "phase":
    "clone", "cycle": 1, "clone": 0, "transition": "keep_function", "anneal": false}]}"""
    values = json.loads(text.replace("NAME", name))
    [segment] = HyperparameterSchedule.from_dict(values).segments
    assert (segment.epochs, segment.genome.activations) == (2, (("dense", "relu"),))
    assert segment.transition == segment.task.change.transition == "keep_function"
    assert segment.rates == ()


def test_a_segment_that_says_only_that_it_was_annealed_falls_along_a_cosine():
    values = SCHEDULE.to_dict()
    last = values["segments"][-1]
    del last["rates"]
    last["anneal"] = True
    assert HyperparameterSchedule.from_dict(values).segments[-1].rates == (1.0, 0.5)


def broken(**changes) -> dict:
    values = SCHEDULE.to_dict()
    values["segments"][1] |= changes
    return values


@pytest.mark.parametrize(
    "values",
    [
        {},
        {**SCHEDULE.to_dict(), "format": 2},
        {**SCHEDULE.to_dict(), "segments": []},
        {**SCHEDULE.to_dict(), "segments": 3},
        {**SCHEDULE.to_dict(), "segments": [3]},
        broken(epochs=0),
        broken(epochs=None),
        broken(phase="last"),
        broken(transition="explode"),
        broken(cycle="one"),
        broken(clone=-1),
        broken(genome=None),
        broken(genome={"optimizer": "adam"}),
        broken(genome={**ADAM.to_dict(), "learning_rate": -1}),
        broken(rates=[1.0, 0.5]),
        broken(rates=[1.0, 0.5, -0.1]),
        broken(rates=[1.0, 0.5, 2.0]),
        broken(rates=[1.0, 0.5, "0"]),
        broken(rates="abc"),
    ],
)
def test_what_is_no_schedule_is_refused(values):
    with pytest.raises(ArgumentError, match="Received: "):
        HyperparameterSchedule.from_dict(values)


def test_a_file_that_is_no_schedule_is_refused_by_name(tmp_path):
    (tmp_path / "text").write_text("text")
    for name in ("text", "nothing"):
        with pytest.raises(ArgumentError, match=f"{name}.*Write it again"):
            HyperparameterSchedule.load(tmp_path / name)
    with pytest.raises(ArgumentError, match="`schedule` must be a `miha.HyperparameterSchedule`"):
        as_schedule([GENOME])


def test_a_schedule_can_be_read_by_people():
    assert str(SCHEDULE).splitlines()[2] == (
        "2 epochs: adam at 0.01, batch size 8, hidden: relu, last: tanh, annealed"
    )
